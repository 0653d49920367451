"""The scripted provider: an OpenAI-compatible server that does what the model's name says, misbehaviour included.

``python -m tests.provider --port 0`` listens on 127.0.0.1, prints ``{"port": N, "pid": M}`` and ends on SIGTERM;
``tests.provider.process.ProviderProcess`` does that for fixtures.

It serves ``POST [/as/<model>][/v1]/chat/completions`` and ``GET [/v1]/models``; ``/as/<model>`` overrides the body's
model, so that two base URLs can behave differently under one model name. ``GET /_seen`` tells every request it has
had, ``DELETE /_seen`` forgets them and restarts ``flap``. ``Authorization: Bearer bad`` is answered with 401.

A model's name is ``<behaviour>[-<value>][-<key><setting>...]``, e.g. ``echo``, ``words-n60-i20``, ``status-503-ra5``.
Keys: ``n`` a count, ``i`` milliseconds between events, ``ra`` Retry-After, ``rams`` retry-after-ms. ``i`` works on
every answer. A name that does not parse is answered with 404 ``model_not_found``. Below, N and MS are defaults.

Good answers. ``stream`` decides the form; all of them honour n, seed, service_tier, metadata, moderation and
stream_options, and wherever they give text, stop, max_tokens, max_completion_tokens, logprobs, top_logprobs and
response_format:

=================  =====================================================================================
echo               the last user message; a token is a word, words keep their trailing space
words-n10-i0       ``w0 w1 ...``: N words, MS apart (a whole answer comes after N x MS)
prefill-n10        the same words, but those of an assistant's message that stands last: it goes on with it
tools              two parallel calls of the offered functions, as tool_choice asks; legacy ``functions`` too;
                   once there are tool messages, text that quotes their results
custom-tool        one call of a custom tool
logprobs           fixed words with multi-byte tokens and one token whose bytes are null
refusal            refusal text, content null
annotations        text with one url_citation
audio              an audio object with transcript, content null
reasoning          ``reasoning_content`` in message and deltas, counted in completion_tokens_details
content-parts      content as a list of text parts, in message and deltas
cookie             sets a cookie and answers with the Cookie header it received
=================  =====================================================================================

Good answers with a provider's habits (the text is echo's):

=================  =====================================================================================
usage-none         never sends usage
usage-always       a stream ends with usage though nobody asked
usage-in-finish    usage inside the finish chunk instead of a last chunk
usage-bad-<kind>   usage that is negative, float, huge (2**63), large (10**9), text or partial
finish-<reason>    that finish_reason, e.g. ``model_length``, ``end_turn``, ``eos``
no-done            the stream ends after finish_reason without [DONE]
close-delimited    the stream has neither length nor chunks and ends with the connection
comments           BOM, comments, CRLF, LF and CR line ends, data over several lines, event and id fields,
                   no space after the colon
u2028              U+2028, U+0085, emoji; each byte of the stream in a segment and an HTTP chunk of its own
extras             unknown fields at every level
empty-choices      a first chunk with ``choices: []`` and an empty id, as Azure's prompt filter sends
slow-<ms>          nothing until so many milliseconds have passed, then echo's answer
=================  =====================================================================================

Refusals and answers that are none (the same whether a stream was asked or not):

=====================  =================================================================================
status-<code>          that status with OpenAI's error body; ``-ra5`` Retry-After 5, ``-raabc`` literally,
                       ``-radate`` an HTTP date, ``-raneg`` a negative one; ``-rams250`` retry-after-ms
status-<code>-html     the same with an HTML page; ``-plain`` plain text; ``-empty`` no body
error-context          400 context_length_exceeded
error-content-filter   400 content_filter
error-param            400 about the parameter ``temperature``
error-model            404 model_not_found
error-quota            429 insufficient_quota
error-in-200           ``{"error": ...}`` with status 200
html-200, empty-200    an HTML page, nothing at all, with status 200
json-array, not-json   JSON that is no object; text that is no JSON, called application/json
no-choices             a completion with ``choices: []``
redirect[-<code>]      307 to ``/as/echo/v1/chat/completions``, which answers and is recorded
flap-n2                each N-th request of that model gets 500, the others an answer
=====================  =================================================================================

Broken connections (``mid``: after N words of a stream, or in the middle of a whole body):

=====================  =================================================================================
hang                   never answers
drip-headers-i1000     a byte of the head every MS
interim-i100           103 Early Hints for ever
many-headers           300 headers of a kilobyte
stall-n3               N words, then silence on an open connection
trickle-i100           comments for ever (a whole answer: white space)
reset, close           RST, FIN before the head
reset-mid-n3           a RST in the middle
cut-mid-n3             a FIN without the body's last chunk
end-mid-n3             the body ends cleanly, the answer does not: no finish_reason, or half a JSON text
two-responses          a second, poisoned response in the segment that ends the first
=====================  =================================================================================

Broken content:

=====================  =================================================================================
bad-event-n3           one malformed event after N words, then on as if nothing had happened
error-event-n3         an ``{"error": ...}`` event after N words, then the end
garbage-stream         4 kB of noise called text/event-stream
huge-line-n300         a line of N MB without a newline, made while it is sent
gzip-bomb-n200         N MB of white space inside a valid answer, as Content-Encoding: gzip
wrong-type             a whole JSON answer though a stream was asked
whole-stream           a stream though none was asked
=====================  =================================================================================
"""
