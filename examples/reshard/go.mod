module github.com/kettubot/kapi/examples/reshard

go 1.26.0

require (
	github.com/google/jsonschema-go v0.4.3
	github.com/kettubot/kapi v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/kettubot/kapi => ../..
