"""A program that reads streams with OpenAI's client, in whichever version is on its path: ``read.py MODEL...``.

It says in a line of JSON for each model what it has read. It imports nothing of ours, since it runs apart from .venv.
"""

import json
import sys

import openai


def main() -> None:
    client = openai.OpenAI(max_retries=0)
    for model in sys.argv[1:]:
        sys.stdout.write(json.dumps({"model": model, "version": openai.__version__, **read(client, model)}) + "\n")
        sys.stdout.flush()


def read(client: openai.OpenAI, model: str) -> dict[str, object]:
    """The text of one stream, why it ended, and the error that ended it. Any other exception ends the program."""
    text, reason, error = "", None, None
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "What is it like?"}], stream=True
    )
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
    except openai.APIConnectionError:
        raise
    except openai.APIError as told:
        error = told.code
    return {"text": text, "reason": reason, "error": error}


if __name__ == "__main__":
    main()
