package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/k8sbind"
)

func TestURLsOfWebhooksAreCheckedAndNeverRepeated(t *testing.T) {
	for _, good := range []string{"http://hooks.ops:8080/x", "https://user:secret@[fd00::1]/?token=secret"} {
		if got, err := httpURL(good); err != nil || got != good {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "secret", "ftp://secret/", "http:///secret", "http://a\x7fsecret/"} {
		if _, err := httpURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := durationUpTo(minBeforeTimeout, 5*time.Second)("6s"); err == nil || !strings.Contains(err.Error(), "not between 10ms and 5s") {
		t.Errorf("6s: %v", err)
	}
}

func TestWhomToTellAndToAskComesFromAnnotations(t *testing.T) {
	f := load(t, "orders.yaml")
	set := func(key, value string) { f.sets[0].Annotations[key] = value }
	set(k8sbind.AnnotationWebhook, "https://hooks.test/?token=secret")
	set(k8sbind.AnnotationBefore, "https://ask.test/")
	set(k8sbind.AnnotationBeforeTimeout, "2s")
	set(k8sbind.AnnotationBeforeFailure, "hold")
	want := Outside{Webhook: "https://hooks.test/?token=secret", WebhookTimeout: 5 * time.Second, Before: "https://ask.test/", BeforeTimeout: 2 * time.Second, HoldOnFailure: true}
	d := newDeriver(2, 0)
	s := d.derive(f, noon, false).snapshot
	require.Empty(t, s.Problems)
	require.Equal(t, want, only(t, s).Outside)
	// What cannot be read any more stays as it was, and is not shown.
	set(k8sbind.AnnotationWebhook, "secret")
	s = d.derive(f, noon, false).snapshot
	require.Equal(t, want, only(t, s).Outside)
	require.Len(t, s.Problems, 1)
	require.Equal(t, ReasonInvalidAnnotation, s.Problems[0].Reason)
	require.NotContains(t, s.Problems[0].Message, "secret")
}
