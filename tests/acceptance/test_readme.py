"""What the README tells one to type works as it stands there."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def block(language, containing):
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return next(text for text in blocks if containing in text)


def run(command, server, folder, script):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HOTFORK_"))}
    environ |= {"HOTFORK_URL": server.url, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        command, input=script, env=environ, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def typed(text):
    """Return the lines that a user types: those after a prompt, and here-documents."""
    return "\n".join(line.removeprefix("$ ") for line in text.splitlines())


def test_your_own_function(server, tmp_path):
    done = run(["sh", "-e"], server, tmp_path, typed(block("console", "mkdir greet")))
    assert '"message": "Hello, you!"' in done.stdout
    assert "greeting you\n" in done.stderr
    # The boto3 example takes the same function as a zip, under the same name.
    with zipfile.ZipFile(tmp_path / "greet.zip", "w") as archive:
        archive.write(tmp_path / "greet" / "lambda_function.py", "lambda_function.py")
    run(["hotfork", "rm", "greet"], server, tmp_path, None)
    script = block("python", "create_function").replace("http://127.0.0.1:3001", server.url)
    script = script.replace("python3.12", f"python3.{sys.version_info.minor}")
    assert run([sys.executable, "-"], server, tmp_path, script).stdout == "{'message': 'Hello, you!'}\n"
    run(["hotfork", "rm", "greet"], server, tmp_path, None)


def test_awss_tools(server, tmp_path):
    run(["hotfork", "deploy", str(ROOT / "configs/functions/hello")], server, tmp_path, None)
    done = run(["sh", "-e"], server, tmp_path, typed(block("console", "hotfork env")))
    names, rest = json.JSONDecoder().raw_decode(done.stdout)
    assert "hello" in names
    assert "Hello, world!" in done.stdout[rest:]
