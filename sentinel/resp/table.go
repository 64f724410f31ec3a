package resp

// commandList is the command table: what redis-sentinel 7.0 has, and hidden what
// its successors have besides.
func commandList() []*command {
	return []*command{
		{name: "acl", arity: -2, sub: aclTable()},
		{name: "auth", arity: -2, flags: fAnytime | fFast | fNoAuth | fAllowBusy, cats: catConnection, noAuth: true, run: (*conn).auth,
			about: "Give a password, or a user and a password."},
		{name: "client", arity: -2, sub: clientTable()},
		{name: "command", arity: -1, flags: fLoading | fStale, cats: catConnection, tips: []string{"nondeterministic_output_order"},
			run: (*conn).commandAll, sub: commandTable(), about: "Describe all commands."},
		{name: "hello", arity: -1, flags: fAnytime | fFast | fNoAuth | fAllowBusy, cats: catConnection, noAuth: true, run: (*conn).hello,
			about: "Choose the protocol version, and log in on the way."},
		{name: "info", arity: -1, flags: fLoading | fStale, cats: catDangerous,
			tips: []string{"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}, run: (*conn).info,
			about: "Show figures of this watcher and one line for every master."},
		{name: "ping", arity: -1, flags: fFast, cats: catConnection, tips: []string{"request_policy:all_shards", "response_policy:all_succeeded"},
			subscribed: true, run: (*conn).ping, about: "Answer, to show that the connection works."},
		{name: "psubscribe", arity: -2, flags: fPubsub | fAnytime, subscribed: true, channels: channelPatterns, run: (*conn).psubscribe,
			about: "Listen to all channels that match a pattern."},
		{name: "publish", arity: 3, flags: fPubsub | fLoading | fStale | fFast, channels: oneChannel, run: (*conn).publish,
			about: "Take the greeting of another Sentinel."},
		{name: "punsubscribe", arity: -1, flags: fPubsub | fAnytime, subscribed: true, run: (*conn).punsubscribe,
			about: "Stop listening to patterns."},
		{name: "quit", arity: -1, noAuth: true, subscribed: true, run: (*conn).quitNow, hidden: true},
		{name: "role", arity: 1, flags: fAnytime | fFast, cats: catAdmin | catDangerous, run: (*conn).role, about: "Tell that this is a Sentinel, and what it watches."},
		{name: "sentinel", arity: -2, flags: fAdmin, sub: sentinelTable()},
		{name: "shutdown", arity: -1, flags: fAdmin | fAnytime | fNoMulti | fAllowBusy, run: (*conn).shutdown, about: "End this watcher in good order."},
		{name: "subscribe", arity: -2, flags: fPubsub | fAnytime, subscribed: true, channels: manyChannels, run: (*conn).subscribe,
			about: "Listen to channels."},
		{name: "unsubscribe", arity: -1, flags: fPubsub | fAnytime, subscribed: true, run: (*conn).unsubscribe, about: "Stop listening to channels."},
	}
}

func aclTable() map[string]*command {
	const open, admin = fAnytime, fAdmin | fAnytime
	return table("acl",
		&command{name: "cat", arity: -2, flags: open, run: (*conn).aclCat, usage: "[<category>]", about: "List the categories, or the commands in one."},
		&command{name: "deluser", arity: -3, flags: admin, run: (*conn).aclDelUser, usage: "<username> [<username> ...]", about: "Take users away and end their connections."},
		&command{name: "dryrun", arity: -4, flags: admin, run: (*conn).aclDryrun, usage: "<username> <command> [<arg> ...]", about: "Tell whether a user might run a command."},
		&command{name: "genpass", arity: -2, flags: open, run: (*conn).aclGenpass, usage: "[<bits>]", about: "Make up a password."},
		&command{name: "getuser", arity: 3, flags: admin, run: (*conn).aclGetUser, usage: "<username>", about: "Show what a user may do."},
		&command{name: "help", arity: 2, flags: fLoading | fStale, run: help("ACL"), about: "Print this help."},
		&command{name: "list", arity: 2, flags: admin, run: (*conn).aclList, about: "Show all users as lines of the configuration."},
		&command{name: "load", arity: 2, flags: admin, run: (*conn).aclLoad, about: "Take the users of the ACL file."},
		&command{name: "log", arity: -2, flags: admin, run: (*conn).aclLog, usage: "[<count> | RESET]", about: "Show or forget what was refused lately."},
		&command{name: "save", arity: 2, flags: admin, run: (*conn).aclSave, about: "Write the users into the ACL file."},
		&command{name: "setuser", arity: -3, flags: admin, run: (*conn).aclSetUser, usage: "<username> [<rule> ...]", about: "Make or change a user."},
		&command{name: "users", arity: 2, flags: admin, run: (*conn).aclUsers, about: "List the users."},
		&command{name: "whoami", arity: 2, flags: open, run: (*conn).aclWhoami, about: "Tell the user of this connection."})
}

func clientTable() map[string]*command {
	sub := func(name string, arity int, admin bool, run func(*conn, [][]byte), usage, about string) *command {
		cmd := &command{name: name, arity: arity, flags: fAnytime, cats: catConnection, run: run, usage: usage, about: about}
		if admin {
			cmd.flags |= fAdmin
		}
		return cmd
	}
	list := sub("list", -2, true, (*conn).clientList, "[TYPE <type> | ID <id> ...]", "Show connections.")
	info := sub("info", 2, false, (*conn).clientInfo, "", "Show this connection.")
	list.tips, info.tips = []string{"nondeterministic_output"}, []string{"nondeterministic_output"}
	return table("client", list, info,
		sub("caching", 3, false, (*conn).clientCaching, "YES|NO", "Accepted for compatibility: a watcher has no keys."),
		sub("getname", 2, false, (*conn).clientGetName, "", "Tell the name of this connection."),
		sub("getredir", 2, false, (*conn).clientGetRedir, "", "Accepted for compatibility: a watcher has no keys."),
		&command{name: "help", arity: 2, flags: fLoading | fStale, cats: catConnection, run: help("CLIENT"), about: "Print this help."},
		sub("id", 2, false, (*conn).clientID, "", "Tell the id of this connection."),
		sub("kill", -3, true, (*conn).clientKill, "<ip:port> | <option> <value> ...", "End connections: by ID, TYPE, USER, ADDR, LADDR; SKIPME no for this one, too."),
		sub("no-evict", 3, true, (*conn).clientNoEvict, "ON|OFF", "Accepted for compatibility: no connection is ended for its memory."),
		sub("pause", -3, true, (*conn).clientPause, "<timeout> [WRITE|ALL]", "Accepted and not done: clients of a watcher do not wait."),
		sub("reply", 3, false, (*conn).clientReply, "ON|OFF|SKIP", "Choose whether there are replies."),
		&command{name: "setinfo", arity: 4, flags: fAnytime, run: (*conn).clientSetInfo, as: "client|setname", hidden: true},
		sub("setname", 3, false, (*conn).clientSetName, "<name>", "Name this connection."),
		sub("tracking", -3, false, (*conn).clientTracking, "ON|OFF [<option> ...]", "Accepted for compatibility: a watcher has no keys."),
		sub("trackinginfo", 2, false, (*conn).clientTrackingInfo, "", "Show what TRACKING was told."),
		sub("unblock", -3, true, (*conn).clientUnblock, "<client-id> [TIMEOUT|ERROR]", "Accepted for compatibility: no command of a watcher blocks."),
		sub("unpause", 2, true, (*conn).clientUnpause, "", "Accepted for compatibility, see PAUSE."))
}

func commandTable() map[string]*command {
	sub := func(name string, arity int, run func(*conn, [][]byte), tips []string, usage, about string) *command {
		return &command{name: name, arity: arity, flags: fLoading | fStale, cats: catConnection, tips: tips, run: run, usage: usage, about: about}
	}
	unordered := []string{"nondeterministic_output_order"}
	return table("command",
		sub("count", 2, (*conn).commandCount, nil, "", "Count the commands."),
		sub("docs", -2, (*conn).commandDocs, unordered, "[<command> ...]", "Say in a sentence what commands do."),
		sub("getkeys", -4, (*conn).commandGetKeys, nil, "<full-command>", "Name the keys of a command: a watcher has none."),
		sub("getkeysandflags", -4, (*conn).commandGetKeys, nil, "<full-command>", "The same."),
		sub("help", 2, help("COMMAND"), nil, "", "Print this help."),
		sub("info", -2, (*conn).commandInfo, unordered, "[<command> ...]", "Describe commands."),
		sub("list", -2, (*conn).commandList, unordered, "[FILTERBY MODULE|ACLCAT|PATTERN <value>]", "List the commands."))
}

func sentinelTable() map[string]*command {
	sub := func(name string, arity int, run func(*conn, [][]byte), usage, about string) *command {
		return &command{name: name, arity: arity, flags: fAdmin, run: run, usage: usage, about: about}
	}
	alias := func(name, as string, arity int, run func(*conn, [][]byte)) *command {
		return &command{name: name, arity: arity, flags: fAdmin, run: run, as: "sentinel|" + as, hidden: true}
	}
	const name = "<master-name>"
	failover := sub("failover", 3, (*conn).sentinelFailover, name, "Move the master: a handover that loses nothing if it lives, else a failover.")
	failover.mayEnd = "coordinated"
	return table("sentinel",
		sub("ckquorum", 3, (*conn).sentinelCkquorum, name, "Tell whether enough watchers are reachable to agree on and carry out a failover."),
		sub("config", -3, (*conn).sentinelConfig, "GET <pattern> ... | SET <param> <value> ...", "Show or change settings of this watcher."),
		sub("debug", -2, (*conn).sentinelDebug, "[<param> <value> ...]", "Show or change Sentinel's time parameters, in milliseconds."),
		failover,
		sub("flushconfig", 2, (*conn).sentinelFlushConfig, "", "Write sentinel.conf now."),
		sub("get-master-addr-by-name", 3, (*conn).sentinelGetMasterAddr, name, "Return the ip and port of the master."),
		alias("get-primary-addr-by-name", "get-master-addr-by-name", 3, (*conn).sentinelGetMasterAddr),
		&command{name: "help", arity: 2, flags: fLoading | fStale, run: help("SENTINEL"), about: "Print this help."},
		sub("info-cache", -3, (*conn).sentinelInfoCache, name+" ...", "Return the latest INFO of masters and their replicas."),
		sub("is-master-down-by-addr", 6, (*conn).sentinelIsMasterDown, "<ip> <port> <epoch> <runid>", "Tell whether this watcher holds a master down."),
		alias("is-primary-down-by-addr", "is-master-down-by-addr", 6, (*conn).sentinelIsMasterDown),
		sub("master", 3, (*conn).sentinelMaster, name, "Show the state of one master."),
		sub("masters", 2, (*conn).sentinelMasters, "", "Show the state of all masters."),
		sub("monitor", 6, (*conn).sentinelMonitor, "<name> <ip> <port> <quorum>", "Watch a master, on all watchers."),
		sub("myid", 2, (*conn).sentinelMyID, "", "Return the id of this watcher."),
		sub("pending-scripts", 2, (*conn).sentinelPendingScripts, "", "Show the scripts that run or wait."),
		alias("primaries", "masters", 2, (*conn).sentinelMasters),
		alias("primary", "master", 3, (*conn).sentinelMaster),
		sub("remove", 3, (*conn).sentinelRemove, name, "Stop watching a master, on all watchers."),
		sub("replicas", 3, (*conn).sentinelReplicas, name, "Show the replicas of a master and their state."),
		sub("reset", 3, (*conn).sentinelReset, "<pattern>", "Forget replicas that are gone for good."),
		sub("sentinels", 3, (*conn).sentinelSentinels, name, "Show the other watchers of a master and their state."),
		sub("set", -5, (*conn).sentinelSet, name+" <option> <value> ...", "Change settings of a master, on all watchers."),
		sub("simulate-failure", -3, (*conn).sentinelSimulateFailure, "[CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [<point> ...] [HELP]",
			"Have this watcher kill itself when it comes to that point of a plan."),
		sub("slaves", 3, (*conn).sentinelReplicas, name, "The same as REPLICAS."))
}
