"""One scripted provider for all tests of this folder, its memory emptied before each."""

from collections.abc import Iterator

import openai
import pytest

from tests.provider.process import ProviderProcess


@pytest.fixture(scope="package")
def process() -> Iterator[ProviderProcess]:
    with ProviderProcess.start() as started:
        yield started


@pytest.fixture
def provider(process: ProviderProcess) -> ProviderProcess:
    process.reset()
    return process


@pytest.fixture
def client(provider: ProviderProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key="good", max_retries=0, timeout=10) as client:
        yield client
