package redisio

import "testing"

func TestRenames(t *testing.T) {
	r := NewRenames(map[string]string{"CONFIG": "conf-x", "SlaveOf": "follow", "info": "INFO", "client": ""})
	for in, want := range map[string]string{"config": "conf-x", "CONFIG": "conf-x", "SLAVEOF": "follow", "INFO": "INFO", "CLIENT": "CLIENT", "PING": "PING"} {
		if got := r.of(in); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
	if same := NewRenames(map[string]string{"slaveof": "follow", "config": "conf-x"}); same != r {
		t.Errorf("%q and %q are to be equal", same, r)
	}
	if NewRenames(nil) != "" || Renames("").of("CONFIG") != "CONFIG" {
		t.Error("nothing is to be renamed")
	}
}
