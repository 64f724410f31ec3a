import { createSentinel } from '@redis/client';
import { config, play, say, tls } from './common.mjs';

// With its own strategy node-redis 5 tries for ever to reach an instance that died while it
// was connecting to it, and asks for the master no more until then.
const reconnectStrategy = (retries) => (retries < 5 ? 100 : new Error('not reached'));
const socket = { reconnectStrategy, ...(tls && { tls: true, ...tls }) };
const sentinel = await createSentinel({
  name: config.name,
  RESP: config.resp,
  sentinelRootNodes: config.sentinels,
  sentinelClientOptions: { RESP: config.resp, username: config.sentinelUser, password: config.sentinelPassword, socket },
  nodeClientOptions: { RESP: config.resp, password: config.password, socket },
  masterPoolSize: 1,
  replicaPoolSize: 1,
  scanInterval: 1000,
})
  .on('error', (err) => say('error', err.message))
  .on('client-error', (e) => say('error', e.error.message))
  .on('topology-change', (e) => { if (e.type === 'MASTER_CHANGE') say('moved', `${e.node.host}:${e.node.port}`); })
  .connect();

// What only reads goes to a replica by itself.
await play((k, v) => sentinel.set(k, v), (k) => sentinel.get(k), async () => { sentinel.destroy(); });
