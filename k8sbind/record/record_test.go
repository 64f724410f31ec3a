package record

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/election"
)

func rec(cluster string, generation uint32) election.ClusterRecord {
	return election.ClusterRecord{ClusterID: cluster, Generation: generation, Voters: []election.Voter{{ID: "a", Addr: "10.0.0.1:36379"}}}
}

func TestTheRecordIsReplacedByCompareAndSwap(t *testing.T) {
	a := newAPI()
	first, second := keeper(t, a, 1).Record(), keeper(t, a, 2).Record()
	if !first.Shared() {
		t.Error("it is not shared")
	}
	if got, v, err := first.Load(t.Context()); err != nil || v != "" || got.ClusterID != "" {
		t.Fatalf("nothing there: %+v %q %v", got, v, err)
	}
	if err := first.Store(t.Context(), rec("c", 0), ""); err != nil {
		t.Fatal(err)
	}
	if err := second.Store(t.Context(), rec("d", 0), ""); !errors.Is(err, election.ErrRecordChanged) {
		t.Fatalf("created twice: %v", err)
	}
	got, version, err := second.Load(t.Context())
	if err != nil || !reflect.DeepEqual(got, rec("c", 0)) || version == "" {
		t.Fatalf("%+v %q %v", got, version, err)
	}
	if err := second.Store(t.Context(), rec("c", 1), version); err != nil {
		t.Fatal(err)
	}
	if err := first.Store(t.Context(), rec("c", 9), version); !errors.Is(err, election.ErrRecordChanged) {
		t.Fatalf("stored over a newer one: %v", err)
	}
	if got, _, _ := first.Load(t.Context()); got.Generation != 1 {
		t.Errorf("%+v", got)
	}
	s := a.secret(t)
	if s.Type != corev1.SecretTypeOpaque || s.Labels[labelManagedBy] != managedBy || len(s.Data[keyCert]) == 0 || len(s.Data[keyKey]) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestOfManyAtOnceOneWins(t *testing.T) {
	for name, there := range map[string]bool{"creating": false, "replacing": true} {
		t.Run(name, func(t *testing.T) {
			a := newAPI()
			version := ""
			if there {
				if _, err := keeper(t, a, 9).TLS(t.Context()); err != nil {
					t.Fatal(err)
				}
				_, version, _ = keeper(t, a, 9).Record().Load(t.Context())
			}
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				r := keeper(t, a, i).Record()
				wg.Go(func() { errs[i] = r.Store(t.Context(), rec("c", uint32(i)), version) })
			}
			wg.Wait()
			won := -1
			for i, err := range errs {
				switch {
				case err == nil && won >= 0:
					t.Fatalf("both %d and %d won", won, i)
				case err == nil:
					won = i
				case !errors.Is(err, election.ErrRecordChanged):
					t.Errorf("%d: %v", i, err)
				}
			}
			got, _, err := keeper(t, a, 0).Record().Load(t.Context())
			if err != nil || won < 0 || got.Generation != uint32(won) {
				t.Errorf("%d won, the record is %+v, %v", won, got, err)
			}
		})
	}
}

func TestAChangeBetweenReadAndWriteIsNotOverwritten(t *testing.T) {
	a := newAPI()
	k := keeper(t, a, 1)
	if err := k.Record().Store(t.Context(), rec("c", 0), ""); err != nil {
		t.Fatal(err)
	}
	stale := a.secret(t)
	_, version, _ := k.Record().Load(t.Context())
	if err := keeper(t, a, 2).Record().Store(t.Context(), rec("c", 1), version); err != nil {
		t.Fatal(err)
	}
	stale.Data[keyRecord] = []byte("{}")
	if err := k.changed("update", k.update(t.Context(), stale)); !errors.Is(err, election.ErrRecordChanged) {
		t.Fatalf("the API server's conflict: %v", err)
	}
}

func TestADeletedSecretComesBackWithTheSameCA(t *testing.T) {
	a := newAPI()
	k, other := keeper(t, a, 1), keeper(t, a, 2)
	for _, k := range []*Keeper{k, other} {
		if _, err := k.TLS(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := a.secret(t)
	if err := a.CoreV1().Secrets(namespace).Delete(t.Context(), DefaultName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, version, err := k.Record().Load(t.Context())
	if err != nil || version != "" {
		t.Fatalf("%q %v", version, err)
	}
	if err := k.Record().Store(t.Context(), rec("c", 3), version); err != nil {
		t.Fatal(err)
	}
	after := a.secret(t)
	if !reflect.DeepEqual(before.Data[keyCert], after.Data[keyCert]) || !reflect.DeepEqual(before.Data[keyKey], after.Data[keyKey]) {
		t.Error("the CA is another one")
	}
	if err := shake(t, k, other); err != nil {
		t.Error(err)
	}
}

func TestAStrangersCAInANewSecretIsTrustedBesideOurs(t *testing.T) {
	a := newAPI()
	leader, follower := keeper(t, a, 1), keeper(t, a, 2)
	for _, k := range []*Keeper{leader, follower} {
		if _, err := k.TLS(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.CoreV1().Secrets(namespace).Delete(t.Context(), DefaultName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh := keeper(t, a, 3) // faster than the leader, with a CA of its own
	if _, err := fresh.TLS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := shake(t, fresh, follower); err == nil {
		t.Fatal("the set-up failed: both have the same CA")
	}
	_, version, err := leader.Record().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Record().Store(t.Context(), rec("c", 3), version); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Keeper{fresh, follower} {
		if _, _, err := k.Record().Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := []*Keeper{leader, follower, fresh}
	for _, x := range all {
		for _, y := range all {
			if err := shake(t, x, y); err != nil {
				t.Errorf("%s to %s: %v", x.opt.Pod, y.opt.Pod, err)
			}
		}
	}
}

func TestADamagedRecordNamesSecretAndKey(t *testing.T) {
	a := newAPI(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: DefaultName, Namespace: namespace}, Data: map[string][]byte{keyRecord: []byte("{")}})
	_, _, err := keeper(t, a, 1).Record().Load(t.Context())
	if err == nil || !strings.Contains(err.Error(), namespace+"/"+DefaultName) || !strings.Contains(err.Error(), keyRecord) {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{Selector: "a in b"})
	for _, what := range []string{"client", "namespace", "pod", "IP", "port", "selector"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s is not named: %v", what, err)
		}
	}
}
