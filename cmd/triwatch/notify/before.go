package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/triwatch/triwatch/sentinel"
)

// Question is what a URL is asked before an automatic failover.
type Question struct {
	Master      string    `json:"master"`
	Epoch       string    `json:"epoch"`
	EpochNumber uint64    `json:"epochNumber"`
	From        *Instance `json:"from"`
	// To is the replica that would be promoted.
	To  *Instance `json:"to"`
	Why string    `json:"why"`
	// Lost is the estimated loss in bytes at most, left out while it is not known.
	Lost    *int64    `json:"lostBytesEstimate,omitempty"`
	Time    time.Time `json:"time"`
	Watcher string    `json:"watcher"`
}

// Verdict is what it answers. An empty answer is no veto.
type Verdict struct {
	Veto   bool   `json:"veto"`
	Reason string `json:"reason"`
}

// Before asks whether an automatic failover may begin. Only a clear veto is one:
// exit code 1, or {"veto": true} with a status of 2xx; anything else that is not a clear
// no is a failure. It returns when ctx ends at the latest.
func (n *Notifier) Before(ctx context.Context, q sentinel.AskHook) sentinel.HookAnswered {
	n.mu.Lock()
	t := n.target(q.Master)
	n.mu.Unlock()
	var a sentinel.HookAnswered
	switch {
	case t.Before == "":
		a.Failure = "nobody to ask any more"
	case IsURL(t.Before):
		a = n.askURL(ctx, t.Before, q)
	default:
		a = n.askProgram(ctx, t.Before, q)
	}
	a.Reason, a.Failure = sentence(a.Reason), sentence(a.Failure)
	switch {
	case a.Failure != "":
		n.count(kindBefore, resultFailed)
	case a.Veto:
		n.count(kindBefore, resultVeto)
	default:
		n.count(kindBefore, resultOK)
	}
	return a
}

func (n *Notifier) askURL(ctx context.Context, to string, q sentinel.AskHook) sentinel.HookAnswered {
	question := Question{Master: q.Master, Epoch: q.Epoch.String(), EpochNumber: uint64(q.Epoch), From: instance(q.From), To: instance(q.To), Why: q.Why,
		Time: time.Now().UTC(), Watcher: n.opt.Watcher()}
	if q.Lost >= 0 {
		question.Lost = &q.Lost
	}
	body, err := json.Marshal(question)
	if err != nil {
		return sentinel.HookAnswered{Failure: err.Error()}
	}
	status, answer, err := n.send(ctx, to, q.Timeout, body)
	switch {
	case err != nil:
		return sentinel.HookAnswered{Failure: err.Error()}
	case status < 200 || status >= 300:
		return sentinel.HookAnswered{Failure: fmt.Sprintf("answered %d %s", status, http.StatusText(status))}
	case len(strings.TrimSpace(string(answer))) == 0:
		return sentinel.HookAnswered{}
	}
	var v Verdict
	if err := json.Unmarshal(answer, &v); err != nil {
		return sentinel.HookAnswered{Failure: fmt.Sprintf("answer is not JSON: %v", err)}
	}
	return sentinel.HookAnswered{Veto: v.Veto, Reason: v.Reason}
}

// askProgram runs a program: master, from-ip, from-port, to-ip, to-port, the estimated
// loss in bytes (-1 if it is not known), and why.
func (n *Notifier) askProgram(ctx context.Context, path string, q sentinel.AskHook) sentinel.HookAnswered {
	e := program{n.opt.Dir}.run(ctx, []string{path, q.Master, q.From.Addr.Host, strconv.Itoa(q.From.Addr.Port), q.To.Addr.Host, strconv.Itoa(q.To.Addr.Port),
		strconv.FormatInt(q.Lost, 10), q.Why}, func(int) {})
	switch {
	case e.err != nil:
		return sentinel.HookAnswered{Failure: e.err.Error()}
	case e.signal != 0 && ctx.Err() != nil:
		return sentinel.HookAnswered{Failure: "killed: " + deadline(ctx, q.Timeout)}
	case e.signal != 0:
		return sentinel.HookAnswered{Failure: fmt.Sprintf("ended by signal %d", e.signal)}
	case e.exit == 0:
		return sentinel.HookAnswered{}
	case e.exit == 1:
		first, _, _ := strings.Cut(strings.TrimSpace(e.output), "\n")
		return sentinel.HookAnswered{Veto: true, Reason: first}
	}
	return sentinel.HookAnswered{Failure: fmt.Sprintf("ended with exit code %d: %s", e.exit, strings.TrimSpace(e.output))}
}

func deadline(ctx context.Context, limit time.Duration) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", limit)
	}
	return ctx.Err().Error()
}

// sentenceMax bounds what others may put into our events and logs, in runes.
const sentenceMax = 200

// sentence makes one line of what others say.
func sentence(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if r := []rune(text); len(r) > sentenceMax {
		return string(r[:sentenceMax]) + "..."
	}
	return text
}

// IsURL reports whether something is meant to be a URL and not a path.
func IsURL(text string) bool { return strings.Contains(text, "://") }

// CheckURL returns why a URL cannot be used, without repeating it: it may hold a secret.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("not a URL that begins with http:// or https://")
	case u.Hostname() == "":
		return errors.New("a URL without a host")
	}
	return nil
}

// shown is as much of a URL as may be logged.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(unreadable)"
	}
	return u.Scheme + "://" + u.Host
}

// hideURL takes the URL out of an error of net/http.
func hideURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
