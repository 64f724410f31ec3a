package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Message is what a webhook gets. Fields that do not apply are left out.
type Message struct {
	Master string `json:"master"`
	// Event is the name that Sentinel clients see, such as +switch-master, Payload its text.
	Event   string `json:"event"`
	Payload string `json:"payload"`
	// Epoch is as people see it, EpochNumber the whole number. Master, event and epoch
	// tell a repeated message from another one.
	Epoch       string `json:"epoch"`
	EpochNumber uint64 `json:"epochNumber"`
	// Kind, From, To, Why, Fenced and Lost are about the open plan: failover or handover.
	Kind string    `json:"kind,omitempty"`
	From *Instance `json:"from,omitempty"`
	To   *Instance `json:"to,omitempty"`
	Why  string    `json:"why,omitempty"`
	// Fenced tells whether the old master was proved unable to acknowledge writes.
	Fenced *bool `json:"fenced,omitempty"`
	// Lost is the estimated loss in bytes at most; left out while it is not known.
	Lost *int64 `json:"lostBytesEstimate,omitempty"`
	// Reason is the sentence for people.
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
	// Watcher is the ID of the watcher that sends.
	Watcher string `json:"watcher"`
}

// Instance names a Redis.
type Instance struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
}

func instance(a sentinel.Assignment) *Instance {
	return &Instance{ID: string(a.Instance), Name: a.Name, Address: hostPort(a.Addr)}
}

func (n *Notifier) message(e sentinel.Event) Message {
	m := Message{Master: e.Master, Event: string(e.Name), Payload: e.Payload, Epoch: e.Epoch.String(), EpochNumber: uint64(e.Epoch), Reason: e.Reason,
		Time: time.Now().UTC(), Watcher: n.opt.Watcher()}
	if p := e.Move; p != nil {
		fenced := p.Fenced
		m.Kind, m.From, m.To, m.Why, m.Fenced = p.Kind.String(), instance(p.From), instance(p.To), p.Why, &fenced
		if p.Lost >= 0 {
			lost := p.Lost
			m.Lost = &lost
		}
	}
	return m
}

// laneMax bounds how many messages of one master wait.
const laneMax = 64

// lane sends one master's messages in their order.
type lane struct {
	messages chan posting
	end      context.CancelFunc
}

// posting is one message and where it goes.
type posting struct {
	url     string
	timeout time.Duration
	m       Message
}

// post queues a message, or keeps a move that another watcher has to tell. n.mu is held.
func (n *Notifier) post(t Target, m Message, leading bool) {
	if !leading {
		if m.Event == string(sentinel.EventSwitchMaster) {
			n.missed[m.Master] = m
		}
		return
	}
	delete(n.missed, m.Master)
	l := n.lanes[m.Master]
	if l == nil {
		l = n.openLane()
		n.lanes[m.Master] = l
	}
	p := posting{url: t.Webhook, timeout: orDefault(t.WebhookTimeout, DefaultWebhookTimeout), m: m}
	for {
		select {
		case l.messages <- p:
			return
		default:
		}
		select {
		case old := <-l.messages:
			n.count(kindWebhook, resultDropped)
			n.opt.Logger.Warn("webhook message dropped, too many wait", zap.String("master", m.Master), zap.String("event", old.m.Event), zap.Int("waiting", laneMax))
		default:
		}
	}
}

// takeoverSpan is how long after a move a new leader tells it: the one before may have
// died before it did.
const takeoverSpan = 10 * time.Second

// Led is called when this watcher begins to lead. What moved a moment ago under the
// leader before is told again.
func (n *Notifier) Led() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, m := range n.missed {
		if t := n.target(name); t.Webhook != "" && !n.stopped && time.Since(m.Time) < takeoverSpan {
			n.post(t, m, true)
		}
	}
	clear(n.missed)
}

func (n *Notifier) openLane() *lane {
	l := &lane{messages: make(chan posting, laneMax)}
	ctx, cancel := context.WithCancel(n.ctx)
	l.end = cancel
	n.wg.Go(func() {
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				return
			case p, more := <-l.messages:
				if !more {
					return
				}
				n.deliver(ctx, p)
			}
		}
	})
	return l
}

// again is how a message is tried again: five tries within about eight seconds, and the
// time of the tries themselves.
func again() wait.Backoff {
	return wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 5}
}

// deliver posts one message until it is taken, refused, or was tried often enough.
func (n *Notifier) deliver(ctx context.Context, p posting) {
	body, err := json.Marshal(p.m)
	if err != nil {
		n.opt.Logger.Error("webhook message cannot be encoded", zap.Error(err))
		return
	}
	var last error
	tries := 0
	err = wait.ExponentialBackoffWithContext(ctx, again(), func(ctx context.Context) (bool, error) {
		tries++
		status, _, err := n.send(ctx, p.url, p.timeout, body)
		switch {
		case err != nil:
			last = err
		case status >= 200 && status < 300:
			return true, nil
		default:
			last = fmt.Errorf("answered %d %s", status, http.StatusText(status))
			if status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
				return false, last
			}
		}
		if tries < again().Steps {
			n.count(kindWebhook, resultRetried)
		}
		return false, nil
	})
	if err == nil {
		n.count(kindWebhook, resultOK)
		return
	}
	n.count(kindWebhook, resultFailed)
	n.opt.Logger.Warn("webhook not told", zap.String("master", p.m.Master), zap.String("event", p.m.Event), zap.String("url", shown(p.url)),
		zap.Int("tries", tries), zap.Error(last))
}

// answerMax bounds what is read of an answer.
const answerMax = 64 << 10

// send posts JSON once.
func (n *Notifier) send(ctx context.Context, to string, timeout time.Duration, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, hideURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "triwatch")
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil, hideURL(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, answerMax)); err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}
