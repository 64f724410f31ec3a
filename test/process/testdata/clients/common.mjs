// What the clients in this directory have in common: each is given its configuration as
// JSON, writes keys one after the other, reads them from a replica now and then, and says
// what happens in lines: "ack N", "read N", "moved HOST:PORT", "error TEXT". It ends when
// its standard input does.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const config = JSON.parse(process.argv[2]);

// tls is for every connection, or undefined without TLS.
export const tls = config.tls && {
  ca: readFileSync(config.tls.ca), cert: readFileSync(config.tls.cert), key: readFileSync(config.tls.key),
};

export const say = (...words) => process.stdout.write(words.join(' ').replaceAll('\n', ' ') + '\n');

// limit is how long one command may take: a client that waits longer has not followed.
const limit = 1000;

const within = (promise) => Promise.race([promise, sleep(limit, undefined, { ref: false }).then(() => { throw new Error('no answer'); })]);

let ending = false;

export const over = () => ending;

export async function play(write, read, end) {
  process.stdin.resume().on('end', () => { ending = true; });
  for (let n = 0; !ending;) {
    try {
      await within(write(`${config.prefix}:${n}`, String(n)));
      say('ack', n);
      n++;
      if (n % 20 === 0 && await within(read(`${config.prefix}:${n - 20}`)) !== null) say('read', n - 20);
    } catch (err) {
      say('error', err.message);
      await sleep(20);
    }
    await sleep(5);
  }
  await end();
  process.exit(0);
}
