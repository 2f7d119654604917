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

// listen listens, with TLS if there are certs, and returns the URL of that.
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

// hosts are those that are answered for by what listens there, none for any.
func (c *serveCmd) hosts(listen string, address net.Addr) []string {
	at, ok := address.(*net.TCPAddr)
	if len(c.Host) == 0 && ok && !at.IP.IsLoopback() {
		return nil
	}
	hosts := append([]string{"localhost"}, c.Host...)
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if name, ok := origin.Name(host); ok { // whoever named it there need not name it again
			hosts = append(hosts, name)
		}
	}
	return hosts
}

// checkListen refuses an address that others can reach, unless that is wanted.
func (c *serveCmd) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usage("--listen %s: not HOST:PORT, like 127.0.0.1:4080", c.Listen)
	}
	if c.Insecure || c.TLSCert != "" || isLoopback(host) {
		return nil
	}
	return usage("--listen %s: other machines could reach it, and without TLS the tokens can be read on the way; "+
		"use --tls-cert and --tls-key, a loopback address with a TLS proxy before it, or --insecure", c.Listen)
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

// listenError drops what net says around the reason.
func listenError(flag, address string, err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	wayOut := ""
	if host, _, splitErr := net.SplitHostPort(address); splitErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		wayOut = fmt.Sprintf("; %s %s takes a port that is free", flag, net.JoinHostPort(host, "0"))
	}
	return fmt.Errorf("can't listen on %s: %w%s", address, err, wayOut)
}
