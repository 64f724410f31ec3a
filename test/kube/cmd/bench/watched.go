package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// password is the placeholder in deploy/redis.
const password = "change-me"

// watched is deploy/overlays/all as it is.
type watched struct {
	*bench
	set *lab.Set
}

func (w *watched) name() string { return triwatchSide }

func (w *watched) namespace() string {
	if w.set == nil {
		return ""
	}
	return w.set.Namespace
}

func (w *watched) scenarios() map[string]func(context.Context, values) error {
	return map[string]func(context.Context, values) error{flip: w.flip, deleted: w.deleted, killed: w.killed, cut: w.cut, cutEarly: w.cutEarly, watchers: w.replaced}
}

func (w *watched) stage(ctx context.Context, namespace string) error {
	w.set = &lab.Set{Lab: w.lab, Namespace: namespace, StatefulSet: "redis", Master: "redis", Service: "redis-master", Password: password, App: "redis"}
	dir, err := w.lab.Overlay(namespace, "overlays/all", "")
	if err == nil {
		err = w.lab.Apply(ctx, namespace, dir)
	}
	if err == nil {
		_, err = w.set.Well(ctx, 3, runLimit)
	}
	return err
}

// prepare waits until all is well and quiet, with the same keys in every copy.
func (w *watched) prepare(ctx context.Context) (lab.Status, error) {
	st, err := w.set.Well(ctx, 3, patience)
	if err == nil {
		err = w.master(st).fill(ctx)
	}
	if err == nil {
		err = w.quiet(ctx, w.set.Namespace)
	}
	return st, err
}

func (w *watched) master(st lab.Status) redis { return redis{st.Master.Current.Address, password} }

// flip hands over and asks the Service all the time who is there.
func (w *watched) flip(ctx context.Context, v values) error {
	before, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	addr, err := w.set.ServiceAddr(ctx)
	if err != nil {
		return err
	}
	ip, _, err := net.SplitHostPort(before.Master.Current.Address)
	if err != nil {
		return fmt.Errorf("read the master's address: %w", err)
	}
	f, err := w.watchFlips(ctx, w.set.Namespace, w.set.Service)
	if err != nil {
		return err
	}
	defer f.stop()
	p := startProbe(ctx, addr, password, ip, true)
	defer p.stop()
	if _, err := w.lab.Kubectl(ctx, "-n", w.set.Namespace, "exec", "deployment/triwatch", "--", "/triwatch", "handover", "redis"); err != nil {
		return err
	}
	a, err := p.wait()
	if err != nil {
		return err
	}
	after, err := w.set.Moved(ctx, before, patience)
	if err != nil {
		return err
	}
	if got, _, _ := net.SplitHostPort(after.Master.Current.Address); got != a.ip {
		return fmt.Errorf("%s answered as the master, but it is %s", a.ip, got)
	}
	at, err := f.to(ctx, after.Master.Current.ID)
	if err != nil {
		return err
	}
	v.time(vAnswer, a.at.Sub(at))
	v.time(vResolution, a.at.Sub(a.last))
	took, err := w.accepted(ctx, after)
	v.time(vAccepted, took)
	return err
}

// accepted is how long after the promotion the leader saw its flip accepted, by its own clock.
func (w *watched) accepted(ctx context.Context, st lab.Status) (took time.Duration, err error) {
	err = lab.Wait(ctx, patience, "the handover in the history", func(ctx context.Context) (string, error) {
		pods, err := w.set.WatcherPods(ctx)
		if err != nil {
			return "", err
		}
		last := "no watcher has an address"
		for _, pod := range pods {
			var ok bool
			if took, ok, err = history(ctx, pod.Status.PodIP, w.set.Master, st.Master.EpochNumber); err != nil || ok {
				return "", err
			}
			last = "no record of it has the notes promoted and service"
		}
		return last, nil
	})
	return took, err
}

func history(ctx context.Context, ip, master string, epoch uint64) (took time.Duration, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ip+":8080/v1/masters/"+master+"/history", nil)
	if err != nil {
		return 0, false, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false, fmt.Errorf("ask for the history: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, false, fmt.Errorf("ask for the history: %w", err)
	}
	return between(body, epoch)
}

// between is the time from the note promoted to the note service in one record of a history.
func between(body []byte, epoch uint64) (took time.Duration, ok bool, err error) {
	var h struct {
		Records []struct {
			EpochNumber uint64 `json:"epochNumber"`
			Notes       []struct {
				MS   float64 `json:"ms"`
				What string  `json:"what"`
			} `json:"notes"`
		} `json:"records"`
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return 0, false, fmt.Errorf("read the history: %w: %.200s", err, body)
	}
	for _, r := range h.Records {
		if r.EpochNumber != epoch {
			continue
		}
		at := map[string]float64{}
		for _, n := range r.Notes {
			if _, again := at[n.What]; !again {
				at[n.What] = n.MS
			}
		}
		promoted, first := at["promoted"]
		service, second := at["service"]
		return time.Duration((service - promoted) * float64(time.Millisecond)), first && second, nil
	}
	return 0, false, nil
}

// under runs a strike under load and measures what clients saw of it. The load goes on
// until all is well again: what comes after the failover is part of it.
func (w *watched) under(ctx context.Context, v values, strike func(lab.Status) error) (before, after lab.Status, verdict lab.Verdict, err error) {
	if before, err = w.prepare(ctx); err != nil {
		return before, after, verdict, err
	}
	l, err := w.set.Begin(ctx)
	if err != nil {
		return before, after, verdict, err
	}
	err = pause(ctx, lead)
	if err == nil {
		err = strike(before)
	}
	if err == nil {
		after, err = w.set.Well(ctx, 3, patience)
	}
	if err == nil {
		err = l.Flowing(ctx, patience)
	}
	verdict, ended := l.End(context.WithoutCancel(ctx)) // always, or the writers would go on
	if ended == nil {
		v.time(vGap, verdict.Service.Gap)
		v.time(vSentinelGap, verdict.Sentinel.Gap)
		v[vLost] = float64(verdict.Service.Lost + verdict.Sentinel.Lost)
	}
	if err = errors.Join(err, ended); err != nil {
		return before, after, verdict, err
	}
	missing, err := w.master(after).missing(ctx)
	v[vKeysLost] = float64(missing)
	return before, after, verdict, err
}

func (w *watched) deleted(ctx context.Context, v values) error {
	f, err := w.watchFlips(ctx, w.set.Namespace, w.set.Service)
	if err != nil {
		return err
	}
	defer f.stop()
	_, after, verdict, err := w.under(ctx, v, func(before lab.Status) error {
		m := before.Master.Current
		if err := w.remove(ctx, w.set.Namespace, m.Name, -1); err != nil {
			return err
		}
		if _, err := w.set.Moved(ctx, before, patience); err != nil {
			return err
		}
		return w.set.Gone(ctx, w.set.Namespace, m.Name, m.ID, patience)
	})
	if err != nil {
		return err
	}
	at, err := f.to(ctx, after.Master.Current.ID)
	if err != nil {
		return err
	}
	// The longest gap may be another one; then it says nothing of the flip.
	if from, to := verdict.Service.From, verdict.Service.From.Add(verdict.Service.Gap); from.Before(at) && at.Before(to) {
		v.time(vAnswer, to.Sub(at))
	}
	return nil
}

func (w *watched) killed(ctx context.Context, v values) error {
	before, _, _, err := w.under(ctx, v, func(before lab.Status) error {
		if err := w.lab.KillInContainer(ctx, w.set.Namespace, before.Master.Current.Name, "redis", syscall.SIGKILL); err != nil {
			return err
		}
		_, err := w.set.Moved(ctx, before, patience)
		return err
	})
	if err != nil {
		return err
	}
	return w.renew(ctx, w.set, before.Master.Current.Name, before.Master.Current.ID)
}

// cut takes the network away under a load that has gone on for a while, cutEarly under one
// that has just begun: its stream is not known to be steady, and a replica that has no
// news is given the time of a ping more.
func (w *watched) cut(ctx context.Context, v values) error { return w.cutAfter(ctx, v, steady) }

func (w *watched) cutEarly(ctx context.Context, v values) error { return w.cutAfter(ctx, v, 0) }

func (w *watched) cutAfter(ctx context.Context, v values, more time.Duration) error {
	_, _, _, err := w.under(ctx, v, func(before lab.Status) (err error) {
		if err := pause(ctx, more); err != nil {
			return err
		}
		link, err := w.lab.Veth(ctx, w.set.Namespace, before.Master.Current.Name)
		if err != nil {
			return err
		}
		if err := w.lab.LinkDown(ctx, link); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.lab.LinkUp(context.WithoutCancel(ctx), link)) }()
		if _, err := w.set.Moved(ctx, before, patience); err != nil {
			return err
		}
		return pause(ctx, 2*lead) // long enough for clients that write to the one that is cut off
	})
	return err
}

// label sets a pod's label; value is JSON, and null takes it away.
func (b *bench) label(ctx context.Context, namespace, pod, key, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, key, value)
	if _, err := b.lab.Client().CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label pod %s: %w", pod, err)
	}
	return nil
}
