"""`python -m we_upload`: the command `we-upload`."""

from we_upload.cli.main import run

if __name__ == "__main__":
    run()
