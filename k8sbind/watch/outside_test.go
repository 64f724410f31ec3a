package watch

import (
	"strings"
	"testing"
	"time"
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
