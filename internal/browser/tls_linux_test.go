package browser

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/security"
)

// certify has the site serve over TLS, with package httptest's certificate.
func (s *site) certify() {
	s.t.Helper()
	example := httptest.NewTLSServer(nil)
	defer example.Close()
	pair := example.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, private := filepath.Join(s.t.TempDir(), "cert.pem"), filepath.Join(s.t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, private: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	s.kill()
	s.flags = []string{"--tls-cert", cert, "--tls-key", private}
	s.url = strings.Replace(s.url, "http:", "https:", 1)
	s.start()
}

// Over TLS a browser loads the page over HTTP/2, and still gets the changes.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.certify()
	p := s.peer()
	b := open(t, desktop)
	call(b, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
	b.signIn(s)
	hold(t, p, "told of")
	b.await("the page shows a change", row("told of"))
	if protocols := evaluate[string](b, `[...new Set(performance.getEntries().map((e) => e.nextHopProtocol).filter(Boolean))].join()`); protocols != "h2" {
		t.Errorf("the page was loaded over %s", protocols)
	}
	b.quiet()
}
