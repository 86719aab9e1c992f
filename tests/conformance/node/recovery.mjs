// A connection that breaks is recovered once by socket.io-client itself; prints what it saw.
import { createRequire } from "node:module";

const { io } = createRequire(import.meta.url)(process.env.SOCKET_IO_CLIENT);
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

const socket = io(process.env.ECHO_URL, { reconnectionDelay: 20 });
await once(socket, "auth");
const first = { id: socket.id, recovered: socket.recovered };
socket.emit("message", "seen");
const seen = await once(socket, "message-back");
socket.io.engine.close();
await once(socket, "connect");
const broken = { same: socket.id === first.id, recovered: socket.recovered };
socket.disconnect().connect();
await once(socket, "connect");
const left = { same: socket.id === first.id, recovered: socket.recovered };
console.log(JSON.stringify({ first: first.recovered, seen: seen.length, broken, left }));
process.exit(0);
