package app

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
)

func TestWhomToTellAndToAskIsCheckedAtTheStart(t *testing.T) {
	file := parse(t, "port 26379\nsentinel monitor orders 10.0.0.21 6379 1\n")
	for _, c := range []struct {
		o    Outside
		want string
	}{
		{Outside{}, ""},
		{Outside{Webhook: "https://example.test/x", Before: "/bin/true", BeforeTimeout: 5 * time.Second, BeforeFailure: "hold"}, ""},
		{Outside{Before: "http://example.test/"}, ""},
		{Outside{Webhook: "example.test"}, "--webhook: not a URL that begins with http:// or https://"},
		{Outside{WebhookTimeout: time.Hour}, "--webhook-timeout is 1h0m0s"},
		{Outside{Before: "/nowhere"}, "--before-failover: /nowhere does not exist or may not be run"},
		{Outside{Before: "ftp://x"}, "--before-failover: not a URL"},
		{Outside{BeforeTimeout: 6 * time.Second}, "--before-failover-timeout is 6s, must be from 10ms to 5s"},
		{Outside{BeforeFailure: "deny"}, `--before-failover-failure is "deny"`},
	} {
		_, err := Options{File: file, Outside: c.o, DataDir: filepath.Join(t.TempDir(), "x")}.resolve()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func TestOnlyWhoIsConfiguredIsAsked(t *testing.T) {
	r := &resolved{}
	if b := r.target(conf.Master{}).Asks(); b != (sentinel.Before{}) {
		t.Errorf("nobody is configured, and %+v is asked", b)
	}
	r.Outside = Outside{Before: "/bin/true", BeforeFailure: "hold"}
	if b := r.target(conf.Master{}).Asks(); b != (sentinel.Before{Timeout: 500 * time.Millisecond, HoldOnFailure: true}) {
		t.Errorf("asked %+v", b)
	}
}
