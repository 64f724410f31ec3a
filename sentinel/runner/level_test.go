package runner

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/triwatch/triwatch/sentinel"
)

// A command that a voter does not know would stop it from acting: it is not proposed
// until every voter that has spoken knows it.
func TestACommandThatAVoterDoesNotKnowIsNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		hello := func(level int) {
			b, err := json.Marshal(frame{Hello: &Hello{Level: level}})
			if err != nil {
				t.Fatal(err)
			}
			r.Message("b", b)
			synctest.Wait()
		}
		pause := func() sentinel.Answer {
			done := make(chan sentinel.Answer, 1)
			go func() {
				a, err := r.Request(ctx, sentinel.Request{Master: "orders", Kind: sentinel.RequestPause})
				if err != nil {
					t.Error(err)
				}
				done <- a
			}()
			return <-done
		}
		hello(0) // a build that does not say
		if a := pause(); a.Result == sentinel.OutcomeOK || !strings.Contains(a.Detail, "older build") {
			t.Fatalf("answer %+v, want a refusal that names the older build", a)
		}
		if n := len(r.proposed); r.proposed[n-1].Type == sentinel.CmdPause {
			t.Fatal("it was proposed all the same")
		}
		hello(sentinel.CommandLevel)
		if a := pause(); a.Result != sentinel.OutcomeOK {
			t.Fatalf("answer %+v, want ok", a)
		}
	})
}
