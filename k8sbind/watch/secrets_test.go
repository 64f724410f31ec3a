package watch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clienttesting "k8s.io/client-go/testing"
)

func TestRotatedPasswordIsHandedOnAtOnce(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		require.Equal(t, "s3cret", w.last().Masters[0].Password)
		before, now := w.counts()[0], time.Now()
		_, err := w.client.CoreV1().Secrets("shop").Update(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "redis-auth"},
			Data:       map[string][]byte{"password": []byte("rotated")}}, metav1.UpdateOptions{})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, "rotated", w.last().Masters[0].Password)
		require.Empty(t, w.last().Masters[0].User)
		require.Equal(t, now, w.told().at[before])
	})
}

// TestOnlyNamedSecretsAreRead holds for as long as they are named.
func TestOnlyNamedSecretsAreRead(t *testing.T) {
	inWorld(t, load(t, "orders.yaml", "tutorial.yaml"), []string{"shop", "tutorial"}, func(w *world) {
		w.start()
		asked := 0
		for _, a := range w.client.Actions() {
			if a.GetResource().Resource != "secrets" {
				continue
			}
			asked++
			require.Equal(t, "shop", a.GetNamespace())
			switch a := a.(type) {
			case clienttesting.ListAction:
				require.Equal(t, "metadata.name=redis-auth", a.GetListRestrictions().Fields.String())
			case clienttesting.WatchAction:
				require.Equal(t, "metadata.name=redis-auth", a.GetWatchRestrictions().Fields.String())
			default:
				t.Fatalf("%s of secrets is not expected", a.GetVerb())
			}
		}
		require.Equal(t, 2, asked)
		set, err := w.client.AppsV1().StatefulSets("shop").Get(ctx, "redis", metav1.GetOptions{})
		require.NoError(t, err)
		delete(set.Annotations, "triwatch.io/auth-secret")
		_, err = w.client.AppsV1().StatefulSets("shop").Update(ctx, set, metav1.UpdateOptions{})
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, w.last().Masters[0].Password)
		require.Empty(t, w.w.secrets.open)
	})
}

func TestSecretsOfNobodyAndManagedFieldsAreNotKept(t *testing.T) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}, Annotations: map[string]string{"last-applied": "secret"}},
		Data: map[string][]byte{"password": []byte("p"), "username": []byte("u"), "tls.key": []byte("k")}}
	got, err := slim(s)
	require.NoError(t, err)
	require.Equal(t, &corev1.Secret{Data: map[string][]byte{"password": []byte("p"), "username": []byte("u")}}, got)
}

func TestForbiddenSecretIsAProblemAndHoldsNobodyUp(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.refusing(func(_, resource, _ string) error {
			if resource == "secrets" {
				return forbidden(resource)
			}
			return nil
		})
		w.start()
		require.Equal(t, "orders", w.last().Masters[0].Name)
		require.False(t, w.last().Unsure)
		w.sleep(3 * time.Second)
		require.Len(t, w.told().problems, 1)
		require.Equal(t, ReasonMissingSecret, w.told().problems[0].Reason)
		require.Len(t, w.told().errs, 1)
		require.Contains(t, w.told().errs[0], "list secrets shop")
		w.refusing(nil)
		w.sleep(retryDenied)
		require.Equal(t, "s3cret", w.last().Masters[0].Password)
		require.Empty(t, w.last().Problems)
	})
}
