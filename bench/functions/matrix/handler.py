"""A product of two small matrices, in plain Python."""


def handler(event, context):
    """Multiply two n by n matrices, n = event["n"] (default 60), and return the trace of the product."""
    n = event.get("n", 60)
    left = [[i + j for j in range(n)] for i in range(n)]
    right = [[i - j + 1 for j in range(n)] for i in range(n)]
    columns = list(zip(*right, strict=True))
    product = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left]
    return {"n": n, "trace": sum(product[i][i] for i in range(n))}
