"""What functions exist: names, records, the store, the code store and the rules that change them."""
