package record

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 365 * 24 * time.Hour
	// backdate bears clocks of nodes that differ.
	backdate = time.Hour
)

// authority is a CA: whom to trust, and with what to sign.
type authority struct {
	trust  []*x509.Certificate
	pool   *x509.CertPool
	signer *x509.Certificate // the one of trust whose key is key
	key    *ecdsa.PrivateKey
	keyPEM []byte
	// secret is the UID of the Secret that it is in; "" if in none that we know.
	secret types.UID
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the CA: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "triwatch peers"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of the CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate of the CA: %w", err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of the CA: %w", err)
	}
	a := &authority{key: key, signer: cert, keyPEM: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})}
	a.setTrust([]*x509.Certificate{cert})
	return a, nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	b[0] &= 0x7f    // positive
	return new(big.Int).SetBytes(b[:])
}

func (a *authority) setTrust(certs []*x509.Certificate) {
	a.trust, a.pool = certs, x509.NewCertPool()
	for _, c := range certs {
		a.pool.AddCert(c)
	}
}

func (a *authority) trustPEM() []byte {
	var b bytes.Buffer
	for _, c := range a.trust {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer takes everything
	}
	return b.Bytes()
}

// parseAuthority reads the CA of a Secret; nil if there is none in it.
func parseAuthority(s *corev1.Secret) (*authority, error) {
	if len(s.Data[keyCert]) == 0 && len(s.Data[keyKey]) == 0 {
		return nil, nil
	}
	var certs []*x509.Certificate
	for rest := s.Data[keyCert]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", keyCert, err)
		}
		certs = append(certs, c)
	}
	block, _ := pem.Decode(s.Data[keyKey])
	if block == nil {
		return nil, fmt.Errorf("decode %s: no PEM block", keyKey)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", keyKey, err)
	}
	a := &authority{key: key, keyPEM: s.Data[keyKey], secret: s.UID}
	a.setTrust(certs)
	for _, c := range certs {
		if key.PublicKey.Equal(c.PublicKey) {
			a.signer = c
		}
	}
	if a.signer == nil {
		return nil, fmt.Errorf("no certificate in %s belongs to %s", keyCert, keyKey)
	}
	return a, nil
}

// parseKey reads what we write and what openssl writes.
func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, must be an ECDSA key", any)
	}
	return key, nil
}

// learnCA takes over the CA of a Secret that was read. The same Secret's bundle is
// the whole truth, so that a certificate can be taken out; in another Secret, made
// after ours was deleted, ours is still that of the running watchers.
func (k *Keeper) learnCA(s *corev1.Secret) error {
	a, err := parseAuthority(s)
	if err != nil || a == nil {
		return err
	}
	k.remember(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.ca; old != nil && old.secret != a.secret {
		a.setTrust(union(a.trust, old.trust))
	}
	k.setCALocked(a)
	return nil
}

// adoptCA takes over the CA of a Secret that we have just written.
func (k *Keeper) adoptCA(s *corev1.Secret) error {
	a, err := parseAuthority(s)
	if err != nil || a == nil {
		return err
	}
	k.remember(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setCALocked(a)
	return nil
}

func (k *Keeper) setCALocked(a *authority) {
	if k.ca != nil && k.ca.secret != "" && k.ca.secret != a.secret {
		k.owed = union(k.owed, k.ca.trust) // to be written into the new Secret
	}
	k.ca = a
}

// fillCA puts the CA that we know into a Secret, or a new one.
func (k *Keeper) fillCA(s *corev1.Secret) error {
	k.mu.Lock()
	a := k.ca
	k.mu.Unlock()
	if a == nil {
		var err error
		if a, err = newAuthority(k.now()); err != nil {
			return err
		}
	}
	s.Data[keyCert], s.Data[keyKey] = a.trustPEM(), a.keyPEM
	return nil
}

// mergeCA adds to a Secret what the running watchers trust and a new Secret lacks.
func (k *Keeper) mergeCA(s *corev1.Secret) error {
	if len(s.Data[keyCert]) == 0 {
		return k.fillCA(s)
	}
	k.mu.Lock()
	owed := k.owed
	k.mu.Unlock()
	a, err := parseAuthority(s)
	if err != nil || a == nil || len(owed) == 0 {
		return nil // a CA that can't be read is a person's to put right, the record is not held up
	}
	a.setTrust(union(a.trust, owed))
	s.Data[keyCert] = a.trustPEM()
	k.mu.Lock()
	k.owed = nil
	k.mu.Unlock()
	return nil
}

func union(a, b []*x509.Certificate) []*x509.Certificate {
	all := append([]*x509.Certificate(nil), a...)
	for _, c := range b {
		known := false
		for _, have := range all {
			known = known || have.Equal(c)
		}
		if !known {
			all = append(all, c)
		}
	}
	return all
}

// ensureCA returns when a Secret with a CA is there and its CA is ours.
func (k *Keeper) ensureCA(ctx context.Context) error {
	err := errors.New("it was changed by somebody else again and again")
	for range attempts {
		var s *corev1.Secret
		s, err = k.secret(ctx)
		switch {
		case apierrors.IsNotFound(err):
			if s, err = k.fresh(); err == nil {
				err = k.create(ctx, s)
			}
		case err == nil && len(s.Data[keyCert]) == 0 && len(s.Data[keyKey]) == 0:
			s = s.DeepCopy()
			if s.Data == nil {
				s.Data = make(map[string][]byte)
			}
			if err = k.fillCA(s); err == nil {
				err = k.update(ctx, s)
			}
		case err == nil:
			_, err = parseAuthority(s)
		}
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("prepare the CA in secret %s: %w", k.where(), err)
	}
	return nil
}

// TLS returns the configuration of the peer connections, for both ends, after it has
// read the CA or made it. It needs the API server, or the CA of an earlier start in
// Options.Dir; on an error try again. The
// configuration follows later changes of the CA, and its certificate is renewed, by
// itself.
func (k *Keeper) TLS(ctx context.Context) (*tls.Config, error) {
	if err := k.ensureCA(ctx); err != nil {
		if cacheErr := k.recall(); cacheErr != nil {
			return nil, err
		}
		k.log.Warn("the cluster secret cannot be read; the CA of the last start is used until it can", zap.Error(err))
	}
	if _, err := k.certificate(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.certificate() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return k.certificate() },
		// The chain is verified below, for both ends; there are no host names, the
		// addresses of pods say nothing about who lives there.
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		VerifyConnection:       k.verify,
		SessionTicketsDisabled: true,
	}, nil
}

// verify accepts a peer that has a certificate of our CA.
func (k *Keeper) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the peer shows no certificate")
	}
	k.mu.Lock()
	pool := k.ca.pool
	k.mu.Unlock()
	intermediates := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, CurrentTime: k.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the peer's certificate is not of the CA in secret %s: %w", k.where(), err)
	}
	return nil
}

// certificate returns our own, and mints one when there is none, when half of its
// life is over, or when its CA is trusted or signs no more.
func (k *Keeper) certificate() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.cert != nil && k.certOf.Equal(k.ca.signer) && now.Before(k.cert.Leaf.NotBefore.Add(backdate+certLife/2)) {
		return k.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the peer certificate: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: k.opt.Pod},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(certLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, k.ca.signer, &key.PublicKey, k.ca.key)
	if err != nil {
		return nil, fmt.Errorf("mint peer certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("mint peer certificate: %w", err)
	}
	k.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	k.certOf = k.ca.signer
	return k.cert, nil
}
