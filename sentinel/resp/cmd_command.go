package resp

import "strings"

func (c *conn) commandAll([][]byte) {
	names := commandNames(c.srv.tables.top)
	c.w.Array(len(names))
	for _, name := range names {
		c.describeCommand(c.srv.tables.top[name])
	}
}

func (c *conn) commandInfo(args [][]byte) {
	if len(args) == 2 {
		c.commandAll(args)
		return
	}
	c.w.Array(len(args) - 2)
	for _, a := range args[2:] {
		if cmd := c.srv.tables.lookup(string(a)); cmd != nil {
			c.describeCommand(cmd)
		} else {
			c.w.Null()
		}
	}
}

// describeCommand writes the ten parts of a command's description. Commands of
// a Sentinel have no keys.
func (c *conn) describeCommand(cmd *command) {
	c.w.Array(10)
	c.w.Bulk(cmd.name)
	c.w.Int(int64(cmd.arity))
	flags := cmd.flags.words()
	c.w.Set(len(flags))
	for _, f := range flags {
		c.w.Simple(f)
	}
	c.w.Int(0) // first key, last key, step
	c.w.Int(0)
	c.w.Int(0)
	var cats []string
	for n, name := range categories() {
		if cmd.categories()&(1<<n) != 0 {
			cats = append(cats, "@"+name)
		}
	}
	c.w.Set(len(cats))
	for _, name := range cats {
		c.w.Simple(name)
	}
	c.w.Set(len(cmd.tips))
	for _, tip := range cmd.tips {
		c.w.Bulk(tip)
	}
	c.w.Set(0) // key specifications
	names := commandNames(cmd.sub)
	if len(names) == 0 {
		c.w.Set(0)
		return
	}
	c.w.Array(len(names))
	for _, name := range names {
		c.describeCommand(cmd.sub[name])
	}
}

func (c *conn) commandCount([][]byte) { c.w.Int(int64(len(commandNames(c.srv.tables.top)))) }

// commandDocs says in a sentence what commands do.
func (c *conn) commandDocs(args [][]byte) {
	var list []*command
	for _, a := range args[2:] {
		if cmd := c.srv.tables.lookup(string(a)); cmd != nil {
			list = append(list, cmd)
		}
	}
	if len(args) == 2 {
		for _, name := range commandNames(c.srv.tables.top) {
			list = append(list, c.srv.tables.top[name])
		}
	}
	c.docs(list)
}

func (c *conn) docs(list []*command) {
	c.w.Map(len(list))
	for _, cmd := range list {
		c.w.Bulk(cmd.name)
		group, about := "server", cmd.about
		switch {
		case strings.HasPrefix(cmd.name, "sentinel"):
			group = "sentinel"
		case cmd.flags&fPubsub != 0:
			group = "pubsub"
		case cmd.cats&catConnection != 0:
			group = "connection"
		}
		if about == "" {
			about = "A container for the commands of " + strings.ToUpper(cmd.name) + "."
		}
		subs := commandNames(cmd.sub)
		n := 2
		if len(subs) > 0 {
			n++
		}
		c.w.Map(n)
		c.w.Bulk("summary")
		c.w.Bulk(about)
		c.w.Bulk("group")
		c.w.Bulk(group)
		if len(subs) > 0 {
			under := make([]*command, 0, len(subs))
			for _, s := range subs {
				under = append(under, cmd.sub[s])
			}
			c.w.Bulk("subcommands")
			c.docs(under)
		}
	}
}

func (c *conn) commandList(args [][]byte) {
	keep := func(*command) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) != 5 || !is(args[2], "filterby"):
		c.w.Error(errSyntax)
		return
	case is(args[3], "module"):
		keep = func(*command) bool { return false }
	case is(args[3], "aclcat"):
		cat := category(0)
		for n, name := range categories() {
			if is(args[4], name) {
				cat = 1 << n
			}
		}
		keep = func(cmd *command) bool { return cmd.categories()&cat != 0 }
	case is(args[3], "pattern"):
		pattern := strings.ToLower(string(args[4]))
		keep = func(cmd *command) bool { return matchGlob(pattern, cmd.name) }
	default:
		c.w.Error(errSyntax)
		return
	}
	c.bulks(c.srv.tables.names(keep))
}

// commandGetKeys answers that there are none.
func (c *conn) commandGetKeys(args [][]byte) {
	cmd := c.srv.tables.command(args[2:])
	switch {
	case cmd == nil || cmd.hidden:
		c.w.Error("ERR Invalid command specified")
	default:
		c.w.Error("ERR The command has no key arguments")
	}
}

// help lists the subcommands of a container in the form of all HELP replies of Redis.
func help(container string) func(c *conn, _ [][]byte) {
	return func(c *conn, _ [][]byte) {
		cmd := c.srv.tables.top[strings.ToLower(container)]
		lines := []string{container + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
		for _, name := range commandNames(cmd.sub) {
			if sub := cmd.sub[name]; name != "help" {
				lines = append(lines, strings.TrimSpace(strings.ToUpper(name)+" "+sub.usage), "    "+sub.about)
			}
		}
		lines = append(lines, "HELP", "    Print this help.")
		c.w.Array(len(lines))
		for _, l := range lines {
			c.w.Simple(l)
		}
	}
}
