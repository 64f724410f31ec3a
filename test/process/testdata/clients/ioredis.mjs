import Redis from 'ioredis';
import { config, play, say } from './common.mjs';

const client = (role) => new Redis({
  sentinels: config.sentinels.map((s) => ({ host: s.host, port: s.port })),
  name: config.name,
  role,
  sentinelUsername: config.sentinelUser,
  sentinelPassword: config.sentinelPassword,
  password: config.password,
  // Subscribes to +switch-master on every watcher.
  failoverDetector: true,
  enableOfflineQueue: true,
  maxRetriesPerRequest: 20,
  retryStrategy: () => 20,
  sentinelRetryStrategy: () => 20,
  reconnectOnError: (err) => (err.message.startsWith('READONLY') ? 2 : false),
}).on('error', (err) => say('error', err.message));

const master = client('master');
const replica = client('slave');
master.on('ready', () => say('moved', `${master.stream.remoteAddress}:${master.stream.remotePort}`));
await play((k, v) => master.set(k, v), (k) => replica.get(k), async () => { master.disconnect(); replica.disconnect(); });
