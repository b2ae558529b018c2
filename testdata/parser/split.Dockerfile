FR\
OM bus\
# comment

ybox
RU\
N --net\
work=none a\
 b
\
USER x
