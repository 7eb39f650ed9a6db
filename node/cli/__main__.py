"""``python -m node.cli`` is ``vostro``: how a child process is started with the same interpreter."""

from node.cli.main import app

if __name__ == "__main__":
    app(prog_name="vostro")
