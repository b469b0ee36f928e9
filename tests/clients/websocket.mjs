// A WebSocket client with headers of its own, as programs use it.
import WebSocket from 'ws'
import { given, obey, tell } from './caller.mjs'

const socket = new WebSocket(given.url, given.protocols, { headers: given.headers })
socket.on('open', () => tell({ open: socket.protocol }))
socket.on('message', (data, isBinary) => tell(isBinary ? { bytes: data.length, sum: data.reduce((sum, byte) => sum + byte, 0) } : { text: data.toString() }))
socket.on('pong', (data) => tell({ pong: data.toString() }))
socket.on('close', (code, reason) => tell({ closed: code, reason: reason.toString() }))
socket.on('error', (error) => tell({ error: error.message }))

obey(async ({ text, bytes, ping, close }) => {
  if (text !== undefined) socket.send(text)
  if (bytes) socket.send(Buffer.alloc(bytes, 7))
  if (ping) socket.ping(ping)
  if (close) socket.close(...close)
})
