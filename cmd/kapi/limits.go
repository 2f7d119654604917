package main

import (
	"fmt"
	"math"
	"time"

	"github.com/kettubot/kapi/server"
)

// limitFlags are the limits of kapi serve. They have the names of the options in package server. On the
// command line 0 is off; in Go, 0 is the default and a negative limit is off.
type limitFlags struct {
	RateLimit        float64 `default:"100" placeholder:"N" help:"Requests per second and token; 0 is off (default: ${default})."`
	RateBurst        *int    `placeholder:"N" help:"Requests that a token may make at once; 0 is off, and turns --rate-limit off, too (default: twice --rate-limit)."`
	RateLimitAddress float64 `default:"20" placeholder:"N" help:"Requests per second from one address without a valid token; 0 is off (default: ${default})."`

	MaxConnections        *int `placeholder:"N" help:"Open connections. At the limit, kapi makes room for a new one by closing one without a valid token. 0 is off (default: three quarters of the open files that the system allows, at most 16384)."`
	MaxConnectionsAddress *int `placeholder:"N" help:"Open connections from one address without a valid token; those of --trusted-proxy don't count. 0 is off (default: half of --max-connections, at most 1024)."`
}

func (l *limitFlags) check() error {
	for name, rate := range map[string]float64{"rate-limit": l.RateLimit, "rate-limit-address": l.RateLimitAddress} {
		if !(rate >= 0) || math.IsInf(rate, 0) {
			return fmt.Errorf("--%s must be 0 or more, not %v", name, rate)
		}
	}
	for name, n := range map[string]*int{
		"rate-burst": l.RateBurst, "max-connections": l.MaxConnections, "max-connections-address": l.MaxConnectionsAddress,
	} {
		if n != nil && *n < 0 {
			return fmt.Errorf("--%s must be 0 or more, not %d", name, *n)
		}
	}
	return nil
}

// requests returns the limits of requests as options of the server.
func (l *limitFlags) requests() server.Options {
	return server.Options{
		RateLimit: orOff(&l.RateLimit), RateBurst: orOff(l.RateBurst), RateLimitAddress: orOff(&l.RateLimitAddress),
	}
}

// connections returns the limits of connections as options of the server.
func (l *limitFlags) connections() server.ConnectionLimits {
	return server.ConnectionLimits{
		MaxConnections: orOff(l.MaxConnections), MaxConnectionsAddress: orOff(l.MaxConnectionsAddress),
	}
}

// orOff converts a flag (nil is the default, 0 is off) into an option (0 is the default, negative is off).
func orOff[T int | float64 | time.Duration](flag *T) T {
	switch {
	case flag == nil:
		return 0
	case *flag == 0:
		return -1
	}
	return *flag
}
