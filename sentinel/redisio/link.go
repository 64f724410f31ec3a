package redisio

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/triwatch/triwatch/sentinel"
)

// Buffer sizes in bytes. An INFO of one section fits into the read buffer; a
// full one takes a second read. go-redis' own default is 32 KiB each way.
const (
	readBuffer   = 2048
	listenBuffer = 256
	writeBuffer  = 256
)

// Credentials are what AUTH is given. An empty user is the default user, an empty
// password is no AUTH at all. Renamed belongs to them: it is what a master's
// configuration says of how to speak to its instances.
type Credentials struct {
	User, Password string
	Renamed        Renames
}

// link is one connection on which commands are sent, one at a time.
type link struct {
	wire   *wire
	client *redis.Client
	conn   *redis.Conn
	creds  Credentials
	name   string // for CLIENT SETNAME with the next INFO, "" if done
	runID  string
	// remote is the IP address behind a host name, "" if it was dialed by one.
	remote string
	// version is 602 for 6.2, 0 if not known; deaf are the questions that were refused.
	version int
	deaf    deaf
}

func newLink(nc net.Conn, addr sentinel.Addr, c Credentials, name string) *link {
	w := newWire(nc)
	client := newClient(w, addr, c, readBuffer)
	l := &link{wire: w, client: client, conn: client.Conn(), creds: c, name: name}
	if addr.IsName() {
		l.remote, _, _ = net.SplitHostPort(nc.RemoteAddr().String()) //nolint:errcheck // without a port it is no IP address
	}
	return l
}

// newClient makes a go-redis client that has w and can get nothing else. Its
// read and write time-outs are off (-2): the wire's deadline is set once per
// exchange instead of twice by go-redis.
func newClient(w *wire, addr sentinel.Addr, c Credentials, buffer int) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr:     addr.String(),
		Dialer:   once(w),
		Username: c.User,
		Password: c.Password,
		// RESP2 has no pushes to look for before and after every command.
		Protocol:           2,
		MaxRetries:         -1,
		MinRetryBackoff:    -1,
		MaxRetryBackoff:    -1,
		DialerRetries:      1,
		DialTimeout:        time.Second, // bounds a dial that is already done
		ReadTimeout:        -2,
		WriteTimeout:       -2,
		PoolSize:           1,
		MaxConcurrentDials: 1,
		PipelinePoolSize:   -1,
		PoolTimeout:        time.Second,
		ConnMaxIdleTime:    -1,
		ReadBufferSize:     buffer,
		WriteBufferSize:    writeBuffer,
		DisableIdentity:    true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
	if c.Renamed != "" {
		client.AddHook(c.Renamed.hook())
	}
	return client
}

// close frees the connection. Only the goroutine that uses the link calls it;
// others call wire.retire.
func (l *link) close() {
	l.wire.Close()   //nolint:errcheck // closing is all that is wanted
	l.client.Close() //nolint:errcheck // it holds nothing but the closed wire
}

// answer is what one exchange came to.
type answer struct {
	reply  sentinel.Reply
	info   *sentinel.Info
	text   string // the whole INFO, if all of it was asked for
	remote string // the link's
	detail string
	// withInfo is set when INFO was asked for.
	withInfo bool
	// rights is what was found out about what is allowed, nil if that was not asked.
	rights *sentinel.Rights
	// broken is set when the link cannot be used again.
	broken bool
}

// fail is the answer to an exchange that ended in err.
func (l *link) fail(err error) answer {
	_, complained := errorReply(err)
	return answer{
		reply:  classify(err, l.wire),
		detail: detail(err, l.wire),
		// A refused handshake makes go-redis close the connection.
		broken: !complained || l.wire.closed.Load(),
	}
}

// ping sends PING and waits at most timeout.
func (l *link) ping(timeout time.Duration) answer {
	l.wire.within(timeout)
	if err := l.conn.Ping(context.Background()).Err(); err != nil {
		return l.fail(err)
	}
	return answer{reply: sentinel.ReplyOK}
}

// pingInfo sends PING and INFO in one write: PING because only it says LOADING and
// MISCONF, INFO for the rest. Not full is the replication section alone.
func (l *link) pingInfo(timeout time.Duration, full bool) answer {
	l.wire.within(timeout)
	ctx := context.Background()
	pipe := l.conn.Pipeline()
	ping := pipe.Ping(ctx)
	info := pipe.Info(ctx, sections(full)...)
	if l.name != "" {
		// Best effort: the ACL may not allow it. ClientName in go-redis' options
		// would make its refusal the end of the connection.
		pipe.ClientSetName(ctx, l.name)
	}
	_, err := pipe.Exec(ctx)
	l.name = ""
	a := answer{}
	switch {
	case err != nil && ping.Err() == nil && ping.Val() == "":
		// The handshake failed; go-redis leaves the commands without an error, and
		// gives the same error from then on, without asking again.
		a = l.fail(err)
		a.broken = true
	case broken(ping.Err()):
		a = l.fail(ping.Err())
	case broken(info.Err()):
		a = l.fail(info.Err())
	default:
		a = l.weigh(ping.Err(), info)
	}
	a.withInfo, a.remote = true, l.remote
	if full && a.info != nil {
		a.text = info.Val()
	}
	return a
}

// weigh makes one answer of PING's verdict and INFO's content.
func (l *link) weigh(pingErr error, info *redis.StringCmd) answer {
	a := answer{reply: sentinel.ReplyOK}
	if pingErr != nil {
		a = l.fail(pingErr)
	} else if info.Err() != nil {
		a = l.fail(info.Err())
	}
	if info.Err() != nil {
		return a
	}
	parsed, err := l.parse(info.Val())
	if err != nil {
		if a.reply == sentinel.ReplyOK {
			a.reply, a.detail = sentinel.ReplyError, err.Error()
		}
		return a
	}
	a.info = parsed
	switch {
	case a.reply == sentinel.ReplyLoading:
		parsed.Loading = true // the replication section alone does not say it
	case a.reply == sentinel.ReplyOK && parsed.Loading:
		a.reply = sentinel.ReplyLoading // it began between the two commands
	}
	return a
}

// parse reads an INFO reply and completes it from what the connection knows.
func (l *link) parse(text string) (*sentinel.Info, error) {
	info, err := sentinel.ParseInfo(text)
	if err != nil {
		return nil, err
	}
	if info.RunID == "" {
		info.RunID = l.runID
	}
	l.runID = info.RunID
	if v, ok := version(info.Version); ok {
		l.version = v
	}
	return &info, nil
}

// sections are INFO's arguments: Redis before 7 takes none or one.
func sections(full bool) []string {
	if full {
		return nil
	}
	return []string{"replication"}
}

// broken reports an error that is not a reply.
func broken(err error) bool {
	if err == nil {
		return false
	}
	_, complained := errorReply(err)
	return !complained
}
