package record

import (
	"context"
	"encoding/json"
	"fmt"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/election"
)

// The keys of the Secret.
const (
	keyRecord = "cluster.json"
	keyCert   = "ca.crt"
	keyKey    = "ca.key"
)

// Labels of the Secret.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "triwatch"
)

// attempts bounds how often a write starts over because somebody else was faster.
const attempts = 5

// secretRecord is the cluster record in the Secret.
type secretRecord struct{ k *Keeper }

// Record returns the cluster record, shared by all watchers of the namespace.
func (k *Keeper) Record() election.Record { return secretRecord{k} }

// Shared implements election.Record.
func (secretRecord) Shared() bool { return true }

// Load implements election.Record. A Secret without a record in it has a version all
// the same, so that the CA can be there first.
func (r secretRecord) Load(ctx context.Context) (election.ClusterRecord, string, error) {
	s, err := r.k.secret(ctx)
	if apierrors.IsNotFound(err) {
		return election.ClusterRecord{}, "", nil
	}
	if err != nil {
		return election.ClusterRecord{}, "", err
	}
	rec, err := r.k.decode(s)
	return rec, s.ResourceVersion, err
}

// Store implements election.Record.
func (r secretRecord) Store(ctx context.Context, rec election.ClusterRecord, expectedVersion string) error {
	raw, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster record: %w", err)
	}
	k := r.k
	if expectedVersion == "" {
		s, err := k.fresh()
		if err != nil {
			return err
		}
		s.Data[keyRecord] = raw
		return k.changed("create", k.create(ctx, s))
	}
	s, err := k.secret(ctx)
	if apierrors.IsNotFound(err) {
		return election.ErrRecordChanged
	}
	if err != nil {
		return err
	}
	if s.ResourceVersion != expectedVersion {
		return election.ErrRecordChanged
	}
	s = s.DeepCopy()
	if s.Data == nil {
		s.Data = make(map[string][]byte)
	}
	s.Data[keyRecord] = raw
	if err := k.mergeCA(s); err != nil {
		return err
	}
	return k.changed("update", k.update(ctx, s))
}

// changed translates the API server's ways to say that somebody else was faster.
func (k *Keeper) changed(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return election.ErrRecordChanged
	default:
		return fmt.Errorf("%s cluster record in secret %s: %w", verb, k.where(), err)
	}
}

func (k *Keeper) decode(s *corev1.Secret) (election.ClusterRecord, error) {
	var rec election.ClusterRecord
	raw := s.Data[keyRecord]
	if len(raw) == 0 {
		return rec, nil
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return election.ClusterRecord{}, fmt.Errorf("decode %s in secret %s (put back what it was; without it a running leader writes it again): %w", keyRecord, k.where(), err)
	}
	return rec, nil
}

func (k *Keeper) where() string { return k.opt.Namespace + "/" + k.opt.Name }

// secret reads the Secret from the API server and takes over the CA in it.
func (k *Keeper) secret(ctx context.Context) (*corev1.Secret, error) {
	s, err := k.opt.Client.CoreV1().Secrets(k.opt.Namespace).Get(ctx, k.opt.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", k.where(), err)
	}
	if err := k.learnCA(s); err != nil {
		// The record is readable all the same, and our connections go on with what
		// they know.
		k.log.Warn("the CA in the cluster secret is not usable", zap.String("secret", k.where()), zap.Error(err))
	}
	return s, nil
}

// fresh returns a Secret to be created: with the CA that we know, else a new one.
func (k *Keeper) fresh() (*corev1.Secret, error) {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: k.opt.Name, Namespace: k.opt.Namespace, Labels: map[string]string{labelManagedBy: managedBy}},
		Type:       corev1.SecretTypeOpaque,
		Data:       make(map[string][]byte),
	}
	return s, k.fillCA(s)
}

func (k *Keeper) create(ctx context.Context, s *corev1.Secret) error {
	made, err := k.opt.Client.CoreV1().Secrets(k.opt.Namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	k.log.Info("cluster secret created", zap.String("secret", k.where()))
	return k.adoptCA(made)
}

func (k *Keeper) update(ctx context.Context, s *corev1.Secret) error {
	made, err := k.opt.Client.CoreV1().Secrets(k.opt.Namespace).Update(ctx, s, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	return k.adoptCA(made)
}
