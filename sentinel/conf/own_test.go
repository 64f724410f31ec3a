package conf

import (
	"strings"
	"testing"
)

func TestLinesForTriwatchAloneAreCommentsToSentinel(t *testing.T) {
	text := "# triwatch: fence orders on\n# triwatch watches this\nsentinel monitor orders 10.0.0.1 6379 2\n# triwatch: unfenced-failover orders hold\n"
	f, err := Parse("f", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if m := f.Masters[0]; !m.Fence || !m.HoldUnfenced {
		t.Errorf("not read: %+v", m)
	}
	if got := string(f.Rewrite(f.State())); !strings.HasPrefix(got, text[:60]) || !strings.Contains(got, "# triwatch: unfenced-failover orders hold\n") {
		t.Errorf("not kept: %s", got)
	}
	for _, bad := range []string{"# triwatch: fence orders maybe", "# triwatch: fence carts on", "# triwatch: fense orders on", "# triwatch: fence orders"} {
		if _, err := Parse("f", strings.NewReader("sentinel monitor orders 10.0.0.1 6379 2\n"+bad+"\n")); err == nil || !strings.Contains(err.Error(), "f:2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
