package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/server"
)

// listen opens the listener, with TLS if certs isn't nil, and returns it with its URL.
func (c *serveCmd) listen(certs *certificates, connections *server.Connections) (net.Listener, string, error) {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, "", listenError("--listen", c.Listen, err)
	}
	listener = connections.Listener(listener)
	switch {
	case certs != nil:
		listener = tls.NewListener(listener, certs.config())
		return listener, "https://" + listener.Addr().String(), nil
	}
	return listener, "http://" + listener.Addr().String(), nil
}

// hosts returns the hosts that a listener answers for; none means any.
func (c *serveCmd) hosts(listen string, address net.Addr) []string {
	at, ok := address.(*net.TCPAddr)
	if len(c.Host) == 0 && ok && !at.IP.IsLoopback() {
		return nil
	}
	hosts := append([]string{"localhost"}, c.Host...)
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if name, ok := origin.Name(host); ok { // a name in listen needs no --host
			hosts = append(hosts, name)
		}
	}
	return hosts
}

// checkListen refuses an address that other machines can reach without TLS, unless --insecure allows it.
func (c *serveCmd) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usage("--listen %s: not HOST:PORT, like 127.0.0.1:4080", c.Listen)
	}
	if c.Insecure || c.TLSCert != "" || isLoopback(host) {
		return nil
	}
	return usage("--listen %s: other machines can reach it, and without TLS the tokens can be read on the way; "+
		"use --tls-cert and --tls-key, a loopback address with a TLS proxy in front, or --insecure", c.Listen)
}

func isLoopback(host string) bool {
	if host == "" {
		return false
	}
	addresses, err := net.LookupIP(host)
	for _, ip := range addresses {
		if !ip.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addresses) > 0
}

// listenError returns the reason alone from an error of net, and adds a way out.
func listenError(flag, address string, err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	wayOut := ""
	if host, _, splitErr := net.SplitHostPort(address); splitErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		wayOut = fmt.Sprintf("; %s %s picks a free port", flag, net.JoinHostPort(host, "0"))
	}
	return fmt.Errorf("can't listen on %s: %w%s", address, err, wayOut)
}
