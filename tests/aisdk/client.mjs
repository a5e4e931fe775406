// Sends a message to Flightdeck with the AI SDK's own transport, or follows the answer that is being written.
// Prints the resulting UI message and the chunks' types as JSON; a chunk that the SDK's schema refuses ends it with 1.
import process from "node:process";

const { AI_PACKAGE, BASE_URL, TOKEN, SESSION, MODE, MESSAGE, STOP_AFTER } = process.env;
const ai = await import(AI_PACKAGE);

const transport = new ai.DefaultChatTransport({
  api: `${BASE_URL}/api/chat/sessions/${SESSION}/stream`,
  headers: { Authorization: `Token ${TOKEN}` },
  prepareSendMessagesRequest: ({ messages }) => ({
    body: { message: messages.at(-1).parts.map((part) => part.text).join("") },
  }),
  prepareReconnectToStreamRequest: ({ api, headers }) => ({ api, headers }),
});

async function open() {
  if (MODE === "resume") return transport.reconnectToStream({ chatId: SESSION });
  const question = { id: "q", role: "user", parts: [{ type: "text", text: MESSAGE }] };
  return transport.sendMessages({ trigger: "submit-message", chatId: SESSION, messages: [question] });
}

// Every chunk that the server sends goes through the SDK's schema in the transport already.
const stream = await open();
if (stream === null) {
  console.log(JSON.stringify({ nothing: true }));
  process.exit(0);
}
const kinds = [];
let stopping = null;
const watched = stream.pipeThrough(
  new TransformStream({
    transform(chunk, controller) {
      kinds.push(chunk.type);
      if (STOP_AFTER && chunk.type === STOP_AFTER && stopping === null) {
        stopping = fetch(`${BASE_URL}/api/chat/sessions/${SESSION}/cancel`, {
          method: "POST",
          headers: { Authorization: `Token ${TOKEN}` },
        });
      }
      controller.enqueue(chunk);
    },
  }),
);
const errors = [];
let message = null;
// `terminateOnError` stays off: an `error` chunk is part of our protocol. What the reader refuses throws all the same.
for await (const seen of ai.readUIMessageStream({ stream: watched, onError: (error) => errors.push(String(error)) })) {
  message = seen;
}
const valid = message?.parts.length ? (await ai.safeValidateUIMessages?.({ messages: [message] }))?.success : undefined;
console.log(JSON.stringify({ message, kinds, errors, valid }));
