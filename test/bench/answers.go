package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os/exec"
	"regexp"
	"strconv"
)

// How redis-benchmark asks one watcher.
const (
	answersClients  = 50
	answersRequests = 200_000
)

// answers measures how often a second one watcher tells the master's address, by redis-benchmark.
func (b *bench) answers(ctx context.Context, c contender, run int) sample {
	return b.sampled(answers, c, run, func(dir string, values map[string]float64) error { return b.answersOnce(ctx, c, dir, values) })
}

var perSecondLine = regexp.MustCompile(`([0-9.]+) requests per second`)

func (b *bench) answersOnce(ctx context.Context, c contender, dir string, values map[string]float64) error {
	r, err := newRig(ctx, dir, c.start, b.opt.downAfter)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer r.stop()
	watcher := r.side.addrs()[0]
	host, port, err := net.SplitHostPort(watcher)
	if err != nil {
		return err
	}
	// It exits when a reply is an error: a watcher that refuses is quick.
	out, err := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-c", strconv.Itoa(answersClients), "-n",
		strconv.Itoa(answersRequests), "-q", "SENTINEL", "get-master-addr-by-name", masterName).CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-benchmark: %w: %s", err, out)
	}
	found := perSecondLine.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return fmt.Errorf("redis-benchmark: %s", out)
	}
	rate, err := strconv.ParseFloat(string(found[len(found)-1][1]), 64)
	if err != nil {
		return err
	}
	values[vAnswers] = math.Round(rate)
	at, err := masterAt(ctx, watcher, masterName)
	if err == nil && at != r.servers[0].Addr() {
		err = fmt.Errorf("%s tells %s as the master, it is %s", watcher, at, r.servers[0].Addr())
	}
	return err
}
