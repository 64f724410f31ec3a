package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/app"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/sentinel/redisio"
)

// fileCheck is what checking a sentinel.conf found, without any watcher running.
type fileCheck struct {
	File     string        `json:"file"`
	Watchers int           `json:"watchers"`
	Warnings []string      `json:"warnings"`
	Masters  []masterCheck `json:"masters"`
	Problems int           `json:"problems"`
}

type masterCheck struct {
	Name      string       `json:"name"`
	Quorum    int          `json:"quorum"`
	Instances []reachCheck `json:"instances"`
	secure    *tls.Config
	// Choice says who would be promoted if the master died now.
	Choice   string   `json:"choice"`
	Warnings []string `json:"warnings,omitempty"`
}

type reachCheck struct {
	Address  string   `json:"address"`
	Role     string   `json:"role"`
	Version  string   `json:"version,omitempty"`
	Keys     int64    `json:"keys"`
	Error    string   `json:"error,omitempty"`
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
}

// withFiles lets check take a sentinel.conf in the place of a master's name.
func withFiles(commands []*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		if c.Name() != "check" {
			continue
		}
		byName := c.RunE
		c.Use = "check [NAME|FILE]"
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && isFile(args[0]) {
				output, err := cmd.Flags().GetString("output")
				if err != nil {
					return err
				}
				return checkFile(cmd.Context(), cmd.OutOrStdout(), args[0], output == "json")
			}
			return byName(cmd, args)
		}
	}
	return commands
}

// isFile tells a file from a master's name: it exists, or is written as a path.
func isFile(arg string) bool {
	st, err := os.Stat(arg)
	return (err == nil && st.Mode().IsRegular()) || strings.ContainsRune(arg, os.PathSeparator)
}

func checkFile(ctx context.Context, out io.Writer, path string, asJSON bool) error {
	f, err := conf.ReadFile(path)
	if err != nil {
		return err
	}
	opt := app.Options{File: f, PeersUnknown: true}
	if peers := os.Getenv("TRIWATCH_PEERS"); peers != "" {
		opt.Peers, opt.PeersUnknown = strings.Split(peers, ","), false
	}
	for _, m := range f.Masters {
		opt.PeersUnknown = opt.PeersUnknown && len(m.KnownSentinels) == 0
	}
	n, err := app.Validate(opt)
	if err != nil {
		return err
	}
	secure, err := app.ToRedis(f)
	if err != nil {
		return err
	}
	r := fileCheck{File: path, Watchers: n, Warnings: []string{}, Masters: []masterCheck{}}
	if opt.PeersUnknown {
		r.Warnings = append(r.Warnings, "the file names no other watcher: with --peers (or TRIWATCH_PEERS) the quorum can be compared with their number")
	}
	for _, w := range f.Warnings {
		r.Warnings = append(r.Warnings, w.String())
	}
	for _, m := range f.Masters {
		mc := checkMaster(ctx, m, secure)
		for _, i := range mc.Instances {
			r.Problems += len(i.Problems)
			if i.Error != "" {
				r.Problems++
			}
		}
		r.Masters = append(r.Masters, mc)
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		r.print(out)
	}
	if err == nil && r.Problems > 0 {
		err = &cli.ExitError{Code: cli.ExitFailure, Err: errors.New("problems were found"), Said: true}
	}
	return err
}

// checkMaster reaches a master, the replicas that it or the file names, and
// chooses among them as a failover would.
func checkMaster(ctx context.Context, m conf.Master, secure *tls.Config) masterCheck {
	creds := redisio.Credentials{User: m.AuthUser, Password: m.AuthPass, Renamed: redisio.NewRenames(m.RenamedCommands)}
	mc := masterCheck{Name: m.Name, Quorum: m.Quorum, secure: secure}
	at := sentinel.Addr{Host: m.Host, Port: m.Port}
	info, _ := mc.reach(ctx, at, creds)
	seen := []sentinel.Addr{at}
	var replicas []sentinel.Addr
	add := func(a sentinel.Addr) {
		for _, s := range seen {
			if s.Same(a) {
				return
			}
		}
		seen, replicas = append(seen, a), append(replicas, a)
	}
	if info != nil {
		for _, a := range info.Replicas {
			add(a.Addr)
		}
	}
	for _, k := range m.KnownReplicas {
		add(sentinel.Addr{Host: k.Host, Port: k.Port})
	}
	var cands []sentinel.Candidate
	for _, a := range replicas {
		c := sentinel.Candidate{ID: sentinel.InstanceID(a.String()), Addr: a, Health: sentinel.HealthDown}
		if c.Info, c.Rights = mc.reach(ctx, a, creds); c.Info != nil {
			c.Health, c.Reply, c.Writable = sentinel.HealthUp, sentinel.ReplyOK, !c.Info.ReadOnly
		}
		cands = append(cands, c)
	}
	if m.Fence && len(cands) < 2 {
		mc.Warnings = append(mc.Warnings, "the fence is on with fewer than 2 replicas: whenever the only one is away it is relaxed, and a master that is cut off then is not fenced")
	}
	knows := func(id string) bool { return info == nil || id == info.ReplID }
	switch choice := sentinel.Choose(cands, knows, ""); {
	case choice.Best != nil:
		mc.Choice = choice.Best.Addr.String() + " would be chosen (" + choice.Reason + ")"
	case len(cands) == 0:
		mc.Choice = "nobody: no replica is known"
	default:
		mc.Choice = "nobody: no replica may be promoted"
	}
	return mc
}

func (mc *masterCheck) reach(ctx context.Context, a sentinel.Addr, creds redisio.Credentials) (*sentinel.Info, *sentinel.Rights) {
	found, err := redisio.Check(ctx, a, creds, mc.secure)
	if w := found.BootWarning(sentinel.BootUnknown); err == nil && w != "" {
		found.Warnings = append(found.Warnings, w)
	}
	rc := reachCheck{Address: a.String(), Role: found.Info.Role.String(), Version: found.Info.Version, Keys: found.Info.Keys,
		Problems: append([]string{}, found.Problems...), Warnings: append([]string{}, found.Warnings...)}
	if err != nil {
		rc.Error, rc.Keys = err.Error(), -1
	}
	mc.Instances = append(mc.Instances, rc)
	if err != nil {
		return nil, nil
	}
	return &found.Info, found.Rights
}

func (r fileCheck) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %d masters, %d watchers\n", r.File, len(r.Masters), r.Watchers)
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "  warning  %s\n", w)
	}
	for _, m := range r.Masters {
		fmt.Fprintf(out, "%s  quorum %d of %d\n", m.Name, m.Quorum, r.Watchers)
		for _, i := range m.Instances {
			if i.Error != "" {
				fmt.Fprintf(out, "  problem  %s\n", i.Error)
				continue
			}
			fmt.Fprintf(out, "  %s  %s, Redis %s, %d keys\n", i.Address, i.Role, i.Version, i.Keys)
			for _, p := range i.Problems {
				fmt.Fprintf(out, "  problem  %s: %s\n", i.Address, p)
			}
			for _, w := range i.Warnings {
				fmt.Fprintf(out, "  warning  %s: %s\n", i.Address, w)
			}
		}
		for _, w := range m.Warnings {
			fmt.Fprintf(out, "  warning  %s\n", w)
		}
		fmt.Fprintf(out, "  if the master died now: %s\n", m.Choice)
	}
	fmt.Fprintf(out, "%d problems\n", r.Problems)
}
