package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates holds a certificate, and reloads it when its files have changed.
type certificates struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	of      fileTimes // of the files that current was read from
	looked  time.Time
}

// fileTimes are the modification times of certificate and key.
type fileTimes [2]time.Time

// lookEvery is the least time between two checks of the files.
const lookEvery = time.Second

func loadCertificates(cert, key string, log *slog.Logger) (*certificates, error) {
	c := &certificates{cert: cert, key: key, log: log}
	return c, c.load()
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"}, // clients that open a WebSocket offer only the second
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.newest(), nil },
	}
}

// newest returns the newest certificate, or the last good one while the files can't be used.
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
		c.log.Error("the new certificate can't be used; still serving the old one", "error", err)
	} else {
		c.log.Info("certificate reloaded", "file", c.cert)
	}
	return c.current
}

func (c *certificates) load() error {
	times, err := c.times() // before reading, so that the next check sees a change made meanwhile
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
