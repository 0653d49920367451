// Reads streams with OpenAI's client for Node: `read.mjs MODEL...` says in a line of JSON for each model what it has
// read. Any exception but the error that a stream ends with ends the program.
import OpenAI from "openai";
import { VERSION } from "openai/version";

const client = new OpenAI({ maxRetries: 0 });

for (const model of process.argv.slice(2)) {
  const messages = [{ role: "user", content: "What is it like?" }];
  const told = { model, version: VERSION, text: "", reason: null, error: null };
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  try {
    for await (const chunk of stream) {
      told.text += chunk.choices[0].delta.content ?? "";
      told.reason = chunk.choices[0].finish_reason ?? told.reason;
    }
  } catch (error) {
    if (!(error instanceof OpenAI.APIError) || error instanceof OpenAI.APIConnectionError) throw error;
    told.error = error.code;
  }
  console.log(JSON.stringify(told));
}
