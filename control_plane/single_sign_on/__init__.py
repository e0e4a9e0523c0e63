"""Single sign-on (单点登录): people sign in with an account elsewhere, by OpenID Connect."""
