package resp

const (
	errTooManyHere = "ERR too many channels and patterns on this connection"
	errTooMany     = "ERR too many channels and patterns on this server"
	errPatterns    = "ERR too many different patterns on this server"
	errLongName    = "ERR channel name too long"
)

func (c *conn) subscribe(args [][]byte)  { c.subscribeTo(args[1:], false) }
func (c *conn) psubscribe(args [][]byte) { c.subscribeTo(args[1:], true) }

// subscribeTo adds subscriptions. From the first one on the connection's output
// is a queue; what it has said so far goes in front.
func (c *conn) subscribeTo(names [][]byte, pattern bool) {
	c.out.start()
	for _, name := range names {
		if c.full(name, pattern) {
			c.w.Error(errTooManyHere)
			continue
		}
		if c.w.Flush() != nil {
			return // the next read finds out
		}
		c.out.waitForRoom()
		if refused := c.srv.hub.subscribe(c, string(name), pattern); refused != "" {
			c.w.Error(refused)
		}
	}
}

// full says whether name would be one subscription too many. It needs no lock,
// because only this goroutine changes them, and so a client that asks for a
// million channels is none of the other clients' business.
func (c *conn) full(name []byte, pattern bool) bool {
	own := c.subs.channels
	if pattern {
		own = c.subs.patterns
	}
	_, have := own[string(name)]
	return !have && c.subs.count() >= c.srv.opts.MaxChannels
}

func (c *conn) unsubscribe(args [][]byte)  { c.unsubscribeFrom(args[1:], false) }
func (c *conn) punsubscribe(args [][]byte) { c.unsubscribeFrom(args[1:], true) }

// unsubscribeFrom takes subscriptions away, all of them if no names are given.
func (c *conn) unsubscribeFrom(args [][]byte, pattern bool) {
	kind := "unsubscribe"
	if pattern {
		kind = "punsubscribe"
	}
	names := make([]string, 0, len(args))
	for _, a := range args {
		names = append(names, string(a))
	}
	if len(args) == 0 {
		names = c.srv.hub.names(c, pattern)
	}
	for _, name := range names {
		confirm(&c.w, kind, name, c.srv.hub.unsubscribe(c, name, pattern))
	}
	if len(names) == 0 {
		c.w.Push(3)
		c.w.Bulk(kind)
		c.w.Null()
		c.w.Int(int64(c.subs.count()))
	}
}

// publish takes the greetings of other Sentinels, and nothing else, as Sentinel
// does: clients can't make up events.
func (c *conn) publish(args [][]byte) {
	if string(args[1]) != HelloChannel {
		c.w.Error("ERR Only HELLO messages are accepted by Sentinel instances.")
		return
	}
	if f := c.srv.opts.OnHello; f != nil {
		f(string(args[2]))
	}
	c.w.Int(1)
}
