module no-secrets

go 1.24

require aegis v0.0.0

replace aegis => ./.aegis/go
