package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func config(t *testing.T, k *Keeper) *tls.Config {
	t.Helper()
	conf, err := k.TLS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// shake lets one Keeper's watcher dial another's and exchange a byte, with the CAs
// that they know already.
func shake(t *testing.T, dialer, listener *Keeper) error {
	t.Helper()
	return shakeConf(t, tlsOf(dialer), tlsOf(listener))
}

// tlsOf is TLS without asking the API server.
func tlsOf(k *Keeper) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.certificate() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return k.certificate() },
		ClientAuth:           tls.RequireAnyClientCert, InsecureSkipVerify: true, VerifyConnection: k.verify,
	}
}

func shakeConf(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	var serverErr error
	wg.Go(func() {
		raw, err := ln.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer raw.Close()
		conn := tls.Server(raw, server)
		if _, serverErr = conn.Write([]byte("x")); serverErr == nil {
			_, serverErr = conn.Read(make([]byte, 1))
		}
	})
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	_, err = conn.Read(make([]byte, 1))
	if err == nil {
		_, err = conn.Write([]byte("y"))
	}
	raw.Close()
	wg.Wait()
	return errors.Join(err, serverErr)
}

func TestWatchersOfOneSecretTrustEachOtherAndNobodyElse(t *testing.T) {
	a, b := newAPI(), newAPI()
	one, two, foreign := config(t, keeper(t, a, 1)), config(t, keeper(t, a, 2)), config(t, keeper(t, b, 3))
	for name, c := range map[string]struct {
		client, server *tls.Config
		says           string
	}{
		"the same CA":       {one, two, ""},
		"a foreign dialer":  {foreign, one, "not of the CA"},
		"a foreign server":  {one, foreign, "not of the CA"},
		"no certificate":    {&tls.Config{InsecureSkipVerify: true}, one, "certificate"},
		"an older protocol": {&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, one, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			err := shakeConf(t, c.client, c.server)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestTwoCreatorsAtOnceShareOneCA(t *testing.T) {
	for range 20 {
		a := newAPI()
		ks := []*Keeper{keeper(t, a, 1), keeper(t, a, 2), keeper(t, a, 3)}
		errs := make([]error, len(ks))
		var wg sync.WaitGroup
		for i, k := range ks {
			wg.Go(func() { _, errs[i] = k.TLS(t.Context()) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(shake(t, ks[0], ks[1]), shake(t, ks[1], ks[2]), shake(t, ks[2], ks[0])); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACertificateIsRenewedAtHalfItsLife(t *testing.T) {
	a := newAPI()
	k, peer := keeper(t, a, 1), keeper(t, a, 2)
	config(t, k)
	config(t, peer)
	now := time.Now()
	k.now = func() time.Time { return now }
	first, err := k.certificate()
	if err != nil {
		t.Fatal(err)
	}
	if l := first.Leaf; l.NotAfter.Sub(now) > certLife+time.Minute || l.NotAfter.Sub(now) < certLife-time.Minute {
		t.Errorf("valid until %v", l.NotAfter)
	}
	now = now.Add(certLife/2 - time.Minute)
	if again, _ := k.certificate(); again != first {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Minute)
	again, err := k.certificate()
	if err != nil || again == first {
		t.Fatalf("not renewed: %v", err)
	}
	peer.now = k.now
	if err := shake(t, k, peer); err != nil {
		t.Error(err)
	}
	now = now.Add(2 * certLife)
	peer.now = time.Now
	if err := peer.verify(tls.ConnectionState{PeerCertificates: nil}); err == nil {
		t.Error("a peer without a certificate is accepted")
	}
}

func TestTheCAIsRotatedThroughABundle(t *testing.T) {
	a := newAPI()
	old, renewed := keeper(t, a, 1), keeper(t, a, 2)
	config(t, old)
	config(t, renewed)
	next, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	put := func(cert, key []byte) {
		t.Helper()
		s := a.secret(t)
		s.Data[keyCert], s.Data[keyKey] = cert, key
		if _, err := a.CoreV1().Secrets(namespace).Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ks ...*Keeper) {
		t.Helper()
		for _, k := range ks {
			if _, err := k.secret(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := a.secret(t)
	bundle := bytes.Join([][]byte{before.Data[keyCert], next.trustPEM()}, nil)
	put(bundle, before.Data[keyKey])
	read(old, renewed)
	put(bundle, next.keyPEM)
	read(renewed)
	if c, err := renewed.certificate(); err != nil || c.Leaf.CheckSignatureFrom(next.signer) != nil {
		t.Fatalf("not signed by the new CA: %v", err)
	}
	if err := errors.Join(shake(t, old, renewed), shake(t, renewed, old)); err != nil {
		t.Fatal(err)
	}
	left := tlsOf(keeperWith(t, a, old)) // a certificate of the old CA, from before
	put(next.trustPEM(), next.keyPEM)
	read(old, renewed)
	if err := errors.Join(shake(t, old, renewed), shake(t, renewed, old)); err != nil {
		t.Fatal(err)
	}
	if err := shakeConf(t, left, tlsOf(renewed)); err == nil {
		t.Error("the old CA is trusted still")
	}
}

// keeperWith is a Keeper that knows what another knows now and learns nothing more.
func keeperWith(t *testing.T, a *api, like *Keeper) *Keeper {
	t.Helper()
	k := keeper(t, a, 7)
	like.mu.Lock()
	defer like.mu.Unlock()
	k.ca, k.cert, k.certOf = like.ca, like.cert, like.certOf
	return k
}

func TestASecretWithoutACAGetsOne(t *testing.T) {
	a := newAPI(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: DefaultName, Namespace: namespace, UID: "x", ResourceVersion: "7"}})
	config(t, keeper(t, a, 1))
	if s := a.secret(t); len(s.Data[keyCert]) == 0 || len(s.Data[keyKey]) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnUnusableCAIsNamed(t *testing.T) {
	good, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"garbage as key":       {good.trustPEM(), []byte("x"), keyKey},
		"a key of another CA":  {good.trustPEM(), other.keyPEM, "belongs"},
		"a key only":           {nil, good.keyPEM, "belongs"},
		"a broken certificate": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), good.keyPEM, keyCert},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: DefaultName, Namespace: namespace},
				Data: map[string][]byte{keyCert: c.cert, keyKey: c.key}})
			_, err := keeper(t, a, 1).TLS(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), DefaultName) {
				t.Errorf("got %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestTLSNeedsTheAPIServerOnce(t *testing.T) {
	a := newAPI()
	k := keeper(t, a, 1)
	a.setDown(true)
	if _, err := k.TLS(t.Context()); err == nil {
		t.Fatal("a CA out of nowhere")
	}
	a.setDown(false)
	conf := config(t, k)
	a.setDown(true)
	if err := shakeConf(t, conf, conf); err != nil {
		t.Error(err)
	}
}
