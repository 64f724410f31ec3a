package watch

import (
	"errors"
	"net/url"
	"time"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// Outside is whom to tell of a master, and whom to ask before an automatic failover.
// The zero value is nobody.
type Outside struct {
	// Webhook is the URL that events are posted to, WebhookTimeout bounds one try.
	Webhook        string
	WebhookTimeout time.Duration
	// Before is the URL that is asked before an automatic failover, BeforeTimeout how long
	// its answer is waited for.
	Before        string
	BeforeTimeout time.Duration
	// HoldOnFailure takes the lack of an answer for a veto.
	HoldOnFailure bool
}

// Defaults and bounds of what is told and asked.
const (
	defaultWebhookTimeout = 5 * time.Second
	minWebhookTimeout     = 100 * time.Millisecond
	maxWebhookTimeout     = 30 * time.Second
	defaultBeforeTimeout  = 500 * time.Millisecond
	minBeforeTimeout      = 10 * time.Millisecond
)

func readOutside(r *reader) Outside {
	const none = "absence of a URL"
	o := Outside{
		Webhook:        read(r, k8sbind.AnnotationWebhook, "", none, httpURL),
		WebhookTimeout: read(r, k8sbind.AnnotationWebhookTimeout, defaultWebhookTimeout, "", durationUpTo(minWebhookTimeout, maxWebhookTimeout)),
		Before:         read(r, k8sbind.AnnotationBefore, "", none, httpURL),
		BeforeTimeout:  read(r, k8sbind.AnnotationBeforeTimeout, defaultBeforeTimeout, "", durationUpTo(minBeforeTimeout, sentinel.MaxBefore)),
		HoldOnFailure:  read(r, k8sbind.AnnotationBeforeFailure, "allow", "", oneOf("allow", "hold")) == "hold",
	}
	if o.Webhook == "" {
		o.WebhookTimeout = 0
	}
	if o.Before == "" {
		o.BeforeTimeout, o.HoldOnFailure = 0, false
	}
	return o
}

// httpURL reads a URL. Its errors do not repeat it: it may hold a secret.
func httpURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("the value is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("the value is not a URL that begins with http:// or https://")
	case u.Hostname() == "":
		return "", errors.New("the value is a URL without a host")
	}
	return text, nil
}
