// A WebSocket target: sends back what it is sent, and tells what it was asked with.
import { WebSocketServer } from 'ws'
import { tell } from './caller.mjs'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: (offered) => [...offered].at(-1) })
server.on('listening', () => tell({ port: server.address().port }))
server.on('connection', (socket, request) => {
  tell({ path: request.url, headers: request.headers })
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  socket.on('ping', (data) => tell({ pinged: data.toString() }))
  socket.on('close', (code, reason) => tell({ closed: code, reason: reason.toString() }))
})
process.stdin.on('end', () => process.exit(0)).resume()
