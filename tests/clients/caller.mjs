// What every script here has in common with the test that runs it: its arguments come as one JSON text, what it sees goes out as lines
// of JSON, the first of them when its packages are loaded, and further wishes come in as lines of JSON. Imported last, for that reason.
import { createInterface } from 'node:readline'

export const given = JSON.parse(process.argv[2])

export const tell = (seen) => process.stdout.write(JSON.stringify(seen) + '\n')

/** Calls this with each wish; they do not wait for each other. The end of the input is the end of the script. */
export function obey(act) {
  const wishes = createInterface({ input: process.stdin })
  wishes.on('line', (line) => act(JSON.parse(line)).catch((error) => tell({ failed: String(error?.stack ?? error) })))
  wishes.on('close', () => process.exit(0))
}

export const base64 = (bytes) => Buffer.from(bytes).toString('base64')

tell({ ready: true })
