"""Token counts with OpenAI's vocabularies, which come with the package: nothing is ever downloaded."""
