package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates are read from files again when those have changed.
type certificates struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	of      fileTimes // that current was read at
	looked  time.Time
}

// fileTimes are the times of change of certificate and key.
type fileTimes [2]time.Time

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

func loadCertificates(cert, key string, log *slog.Logger) (*certificates, error) {
	c := &certificates{cert: cert, key: key, log: log}
	return c, c.load()
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"}, // who opens a WebSocket offers the second alone
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.newest(), nil },
	}
}

// newest returns the certificate; of files that can't be used it keeps the last good one.
func (c *certificates) newest() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.current
	}
	c.looked = time.Now()
	if now, err := c.times(); err == nil && now == c.of {
		return c.current
	}
	if err := c.load(); err != nil {
		c.log.Error("the new certificate can't be used; the old one is served", "error", err)
	} else {
		c.log.Info("certificate read again", "file", c.cert)
	}
	return c.current
}

func (c *certificates) load() error {
	times, err := c.times() // before they are read: a later change is seen the next time
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.current, c.of = &pair, times
	return nil
}

func (c *certificates) times() (t fileTimes, err error) {
	for i, name := range []string{c.cert, c.key} {
		info, err := os.Stat(name)
		if err != nil {
			return t, err
		}
		t[i] = info.ModTime()
	}
	return t, nil
}
