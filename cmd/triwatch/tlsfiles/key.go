package tlsfiles

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"
)

// plainKey takes the encryption off a private key, if there is one. OpenSSL writes two
// kinds: PKCS #8, and the older one with a header in the PEM.
func plainKey(text []byte, password string) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block in it")
	}
	var der []byte
	switch old := x509.IsEncryptedPEMBlock(block); { //nolint:staticcheck // weak, and what people's files hold
	case !old && block.Type != "ENCRYPTED PRIVATE KEY":
		return text, nil
	case password == "":
		return nil, errors.New("it is encrypted, and there is no line tls-key-file-pass (or tls-client-key-file-pass) for it")
	case old:
		plain, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
		if err != nil {
			return nil, fmt.Errorf("decrypt: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: plain}), nil
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
	if err == nil {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
