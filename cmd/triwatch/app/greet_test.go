package app

import (
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

func TestGreetingIsASentinels(t *testing.T) {
	v := sentinel.View{Name: "orders", Epoch: 7, Master: sentinel.Assignment{Epoch: 7, Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379}}}
	got := greeting(sentinel.Addr{Host: "10.0.1.1", Port: 26379}, "8e60", v)
	if want := "10.0.1.1,26379,8e60,7,orders,10.0.0.1,6379,7"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhoIsGreeted(t *testing.T) {
	up := func(id sentinel.InstanceID) sentinel.InstanceView {
		return sentinel.InstanceView{ID: id, Health: sentinel.HealthUp, Reply: sentinel.ReplyOK}
	}
	for name, c := range map[string]struct {
		change func(v *sentinel.View)
		want   int
	}{
		"all are well":      {func(*sentinel.View) {}, 3},
		"a plan is open":    {func(v *sentinel.View) { v.Plan = &sentinel.Plan{} }, 0},
		"it only observes":  {func(v *sentinel.View) { v.Config.Observe = true }, 0},
		"it was released":   {func(v *sentinel.View) { v.Released = true }, 0},
		"one is down":       {func(v *sentinel.View) { v.Instances[1].Health = sentinel.HealthDown }, 2},
		"one loads":         {func(v *sentinel.View) { v.Instances[1].Reply = sentinel.ReplyLoading }, 2},
		"one's pod is gone": {func(v *sentinel.View) { v.Instances[2].Gone = true }, 2},
	} {
		v := sentinel.View{Instances: []sentinel.InstanceView{up("a"), up("b"), up("c")}}
		c.change(&v)
		if got := greeted(v); len(got) != c.want {
			t.Errorf("%s: %d are greeted, want %d", name, len(got), c.want)
		}
	}
}
