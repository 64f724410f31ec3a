import Redis from 'ioredis';
import { config, over, play, say, tls } from './common.mjs';

const client = (role) => new Redis({
  sentinels: config.sentinels.map((s) => ({ host: s.host, port: s.port })),
  name: config.name,
  role,
  sentinelUsername: config.sentinelUser,
  sentinelPassword: config.sentinelPassword,
  password: config.password,
  ...(tls && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  // Subscribes to +switch-master on every watcher.
  failoverDetector: true,
  maxRetriesPerRequest: 20,
  reconnectOnError: (err) => (err.message.startsWith('READONLY') ? 2 : false),
})
  .on('error', (err) => say('error', err.message))
  // ioredis 5 gives up for good if +switch-master comes while it is asking for the master,
  // which it does a moment after it has lost the connection.
  .on('end', function again() { if (!over()) this.connect().catch((err) => say('error', err.message)); });

const master = client('master');
const replica = client('slave');
master.on('ready', () => say('moved', `${master.stream.remoteAddress}:${master.stream.remotePort}`));
await play((k, v) => master.set(k, v), (k) => replica.get(k), async () => { master.disconnect(); replica.disconnect(); });
