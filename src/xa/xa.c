#include "postgres.h"
#include "xa/xa.h"
void braid_xa_init(void)
{
}
